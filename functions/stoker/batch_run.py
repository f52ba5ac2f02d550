"""A batch run as its caller holds it.

The rule that must not break: the run lives on the platform; losing this object, or the process, loses nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stoker import routes
from stoker.batch_input import is_url, send_input
from stoker.batch_output import check_target, fetch_output, read_rows
from stoker.call_request import CallTarget
from stoker.client import Client
from stoker.errors import PlatformError

Json = dict[str, Any]
ENDED = frozenset({"succeeded", "failed", "canceled"})


class BatchStopped(PlatformError):
    """The run ended, or was paused, without success; ``status`` holds its document."""

    code = "batch_stopped"

    def __init__(self, document: Json) -> None:
        problem = document.get("problem") or {}
        why = f": {problem['detail']}" if problem.get("detail") else ""
        super().__init__(f"{document['id']} is {document['state']}{why}", hint=problem.get("hint"))
        self.document = document


class BatchRun:
    """Made by ``Function.batch`` or ``BatchRun.from_id``."""

    def __init__(self, client: Client, batch_id: str, target: Path | None = None, *, overwrite: bool = False) -> None:
        self._client = client
        self.id = batch_id
        self._target = target
        self._overwrite = overwrite

    @classmethod
    def from_id(cls, batch_id: str, client: Client | None = None) -> BatchRun:
        """A run that was started before, from anywhere."""
        return cls(client or Client(), batch_id)

    def status(self) -> Json:
        """Its document: ``state``, ``progress``, ``problem``, …"""
        found: Json = self._client.request(routes.batch(self.id))
        return found

    def watch(self) -> Iterator[Json]:
        """Its document at each change, until it ends or is paused."""
        while True:
            last: Json | None = None
            for last in self._client.documents(routes.batch_events(self.id)):
                yield last
            if last is None or last["state"] in ENDED or last["state"] == "paused":
                return

    def wait(self, *, progress: bool | None = None) -> Json:
        """Until it has succeeded, and its output is where it was asked for; raises ``BatchStopped`` otherwise."""
        from stoker.batch_bar import watched

        last = self.status()
        for document in watched(self.watch(), progress):
            last = document
        if last["state"] != "succeeded":
            raise BatchStopped(last)
        if self._target is not None:
            self.fetch(self._target, overwrite=self._overwrite)
            self._target = None
        return last

    def fetch(self, target: str | Path, *, overwrite: bool = False) -> Json:
        """Write a kept output to a folder of this machine; its manifest."""
        return fetch_output(self._client, self.id, Path(target), overwrite=overwrite)

    def results(self) -> Iterator[tuple[Any, Any]]:
        """(key, result) of each row that went well, in the order of the input; of a kept JSONL output."""
        return ((row["key"], row["result"]) for row in read_rows(self._client, self.id, "parts"))

    def errors(self) -> Iterator[Json]:
        """What the error files say: ``key``, ``row``, ``where``, ``code``, ``message``."""
        return read_rows(self._client, self.id, "errors")

    def pause(self) -> Json:
        """Let what is in flight end, and take nothing more."""
        return self._act("pause")

    def resume(self, **changes: object) -> Json:
        """Go on behind what is done; may change ``max_failed_fraction``, ``max_concurrency`` and ``deadline``."""
        return self._act("resume", **changes)

    def cancel(self) -> Json:
        """Stop for good."""
        return self._act("cancel")

    def __repr__(self) -> str:
        return f"BatchRun({self.id})"

    def _act(self, action: str, **changes: object) -> Json:
        found: Json = self._client.request(routes.act_on_batch(self.id, action, **changes))
        return found


def start_batch(
    client: Client,
    target: CallTarget,
    given: object,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    on_sent: Callable[[], None] = lambda: None,
    **options: object,
) -> BatchRun:
    """Send the input, start the run."""
    where = None if output is None else str(output)
    local = Path(where) if where is not None and not is_url(where) else None
    if local is not None:
        check_target(local, overwrite=overwrite)
    spec = {**batch_spec(target, options), "input": send_input(client, given), "overwrite": overwrite}
    if local is None and where is not None:
        spec["output"] = where
    on_sent()
    document: Json = client.request(routes.start_batch(spec))
    return BatchRun(client, str(document["id"]), local, overwrite=overwrite)


def check_batch(
    client: Client, target: CallTarget, given: object, *, output: str | None, overwrite: bool, **options: object
) -> Json:
    """Check it and estimate what it takes; nothing is started."""
    spec = {**batch_spec(target, options), "input": send_input(client, given), "overwrite": overwrite}
    if output is not None and is_url(output):
        spec["output"] = output
    elif output is not None:
        check_target(Path(output), overwrite=overwrite)
    document: Json = client.request(routes.start_batch(spec, dry_run=True))
    return document


def batch_spec(target: CallTarget, options: Mapping[str, object]) -> Json:
    """The part of the request that says what is run and how; raises ``TypeError`` for an unknown option."""
    unknown = set(options) - _OPTIONS
    if unknown:
        raise TypeError(f"batch() takes no {', '.join(map(repr, sorted(unknown)))}")
    spec: Json = {name: value for name, value in options.items() if value is not None}
    if hasattr(spec.get("deadline"), "isoformat"):
        spec["deadline"] = spec["deadline"].isoformat()
    return {
        "function": target.name,
        "namespace": target.namespace,
        "ref": None if target.version is None else str(target.version),
        "method": target.method or None,
        **spec,
    }


_OPTIONS = frozenset(
    {
        "mapping",
        "key",
        "input_format",
        "output_format",
        "max_concurrency",
        "deadline",
        "max_failed_fraction",
        "rows_per_part",
    }
)

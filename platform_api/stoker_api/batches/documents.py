"""What the API says of a batch run.

The rule that must not break: the members named in ``docs/batch_runs.md`` are always there, whatever its state.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Final

from stoker_api.batches.progress import RunProgress
from stoker_api.batches.records import BatchRecord, Counts

Json = dict[str, Any]
_PROBLEM: Final = ("code", "detail", "hint")


def record_document(record: BatchRecord, progress: RunProgress | None, counts: Counts | None) -> Json:
    """A run: what was asked for, where it is, and how far."""
    spec = record.spec
    return {
        "id": record.id,
        "state": record.state.value,
        "namespace": spec.namespace,
        "function": spec.function,
        "revision": record.revision,
        "method": spec.method,
        "input": list(spec.input) if spec.items is None else None,
        "inline_rows": None if spec.items is None else len(spec.items),
        "output": spec.output,
        "output_format": spec.output_format.value,
        "mapping": dict(spec.mapping),
        "key": spec.key,
        "max_concurrency": spec.max_concurrency,
        "deadline": _time(spec.deadline_s),
        "max_failed_fraction": spec.max_failed_fraction,
        "source": spec.source,
        "created_at": _time(record.created_at_s),
        "started_at": _time(record.started_at_s),
        "ended_at": _time(record.ended_at_s),
        "problem": None if record.problem is None else {name: record.problem.get(name) for name in _PROBLEM},
        "progress": _progress(record, progress, counts or Counts()),
    }


def _progress(record: BatchRecord, progress: RunProgress | None, counts: Counts) -> Json:
    if progress is not None:
        return progress.document()
    still = RunProgress(done=counts.rows, failed=counts.failed, committed=counts.rows, total=record.rows_total)
    document = still.document()
    if record.problem is not None:
        document |= {name: record.problem[name] for name in ("done", "failed", "errors") if name in record.problem}
    return document


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat()

"""Every management route as a plain value, so that the sync and the async client cannot differ.

The rule that must not break: this file names every path under ``/v1`` that the SDK and the CLI use.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Route:
    """One request to be made."""

    verb: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    files: Mapping[str, tuple[str, bytes, str]] | None = None
    fields: Mapping[str, str] | None = None
    content: bytes | None = None
    """The body as it is, in place of ``body``."""


def register_bundle(spec: Mapping[str, object], bundle: bytes, *, dry_run: bool = True) -> Route:
    """Register a signed bundle; ``spec`` as in ``bundle_spec``."""
    return Route(
        "POST",
        "/v1/functions",
        query=_dry_run(dry_run),
        fields={"spec": json.dumps(spec)},
        files={"bundle": ("bundle.zip", bundle, "application/zip")},
    )


def bundle_spec(
    name: str, namespace: str, handler: str, options: Mapping[str, object], *, public_key: bytes, signature: bytes
) -> Json:
    """What goes with a bundle."""
    return {
        "name": name,
        "namespace": namespace,
        "handler": handler,
        "options": options,
        "public_key": base64.b64encode(public_key).decode(),
        "signature": base64.b64encode(signature).decode(),
    }


def register_source(
    name: str, source: str, handler: str, options: Mapping[str, object], namespace: str, *, dry_run: bool = True
) -> Route:
    """Register Python source."""
    body = {"name": name, "namespace": namespace, "source": source, "handler": handler, "options": dict(options)}
    return Route("POST", "/v1/functions", query=_dry_run(dry_run), body=body)


def functions(namespace: str | None = None) -> Route:
    """All functions, of one namespace where given."""
    return Route("GET", "/v1/functions", query={} if namespace is None else {"namespace": namespace})


def function(name: str, namespace: str) -> Route:
    """One function, whole."""
    return Route("GET", _function(name), query={"namespace": namespace})


def delete(name: str, namespace: str, *, force: bool = False) -> Route:
    """Delete a function with all its revisions."""
    return Route("DELETE", _function(name), query={"namespace": namespace, **_force(force)})


def delete_revision(name: str, namespace: str, revision: int, *, force: bool = False) -> Route:
    """Delete one revision."""
    return Route("DELETE", f"{_function(name)}/revisions/{revision}", query={"namespace": namespace, **_force(force)})


def set_alias(name: str, namespace: str, alias: str, target: int | Mapping[int, int]) -> Route:
    """Point an alias to one revision, or split it by weights."""
    body: Json = (
        {"revision": target} if isinstance(target, int) else {"weights": {str(k): v for k, v in target.items()}}
    )
    return Route("PUT", f"{_function(name)}/aliases/{quote(alias, safe='')}", query={"namespace": namespace}, body=body)


def delete_alias(name: str, namespace: str, alias: str) -> Route:
    """Remove an alias."""
    return Route("DELETE", f"{_function(name)}/aliases/{quote(alias, safe='')}", query={"namespace": namespace})


def rollback(name: str, namespace: str, revision: int | None = None, alias: str | None = None) -> Route:
    """Back to the revision before, or to the one named."""
    return _action(name, namespace, "rollback", _given(revision=revision, alias=alias))


def promote(
    name: str, namespace: str, alias: str, *, revision: int | None = None, from_alias: str | None = None
) -> Route:
    """Give an alias the revision named, or another alias's."""
    return _action(name, namespace, "promote", _given(revision=revision, from_alias=from_alias, alias=alias))


def scale(name: str, namespace: str, scaling: Mapping[str, object]) -> Route:
    """Change scaling at run time; survives a redeploy."""
    return Route("PUT", f"{_function(name)}/scaling", query={"namespace": namespace}, body=dict(scaling))


def reset_scaling(name: str, namespace: str) -> Route:
    """Back to what the revision says."""
    return Route("DELETE", f"{_function(name)}/scaling", query={"namespace": namespace})


def forecast(name: str, namespace: str) -> Route:
    """What is expected of a function, why it is warm, and what foreseeing has come to."""
    return Route("GET", f"{_function(name)}/forecast", query={"namespace": namespace})


def warm_up(name: str, namespace: str, replicas: int = 1) -> Route:
    """Start replicas and wait until they are ready."""
    return _action(name, namespace, "warmup", {"replicas": replicas})


def retry(name: str, namespace: str) -> Route:
    """Let a crash-looping function start again."""
    return _action(name, namespace, "retry", {})


def logs(
    name: str, namespace: str, *, follow: bool = False, lines: int | None = None, revision: int | None = None
) -> Route:
    """Log lines of a function's workers."""
    query = {"namespace": namespace, "follow": "true" if follow else "false"}
    query |= {key: str(value) for key, value in _given(lines=lines, revision=revision).items()}
    return Route("GET", f"{_function(name)}/logs", query=query)


def pool() -> Route:
    """Devices and replicas."""
    return Route("GET", "/v1/pool")


def history(last_s: float | None = None) -> Route:
    """Recorded traffic as CSV, of the last so many seconds."""
    return Route("GET", "/v1/history", query={} if last_s is None else {"last_s": f"{last_s:g}"})


def info() -> Route:
    """The platform's versions and packages."""
    return Route("GET", "/v1/info")


def tokens() -> Route:
    """All tokens, without their secret part."""
    return Route("GET", "/v1/tokens")


def create_token(
    name: str, scopes: list[str], namespaces: list[str] | None = None, expires_in_s: float | None = None
) -> Route:
    """A new token, shown once."""
    body: Json = {"name": name, "scopes": scopes, **_given(namespaces=namespaces, expires_in_s=expires_in_s)}
    return Route("POST", "/v1/tokens", body=body)


def revoke_token(token_id: str) -> Route:
    """Make a token useless."""
    return Route("DELETE", f"/v1/tokens/{quote(token_id, safe='')}")


def secrets(namespace: str) -> Route:
    """Names of the secrets; values are never shown."""
    return Route("GET", "/v1/secrets", query={"namespace": namespace})


def set_secret(name: str, namespace: str, value: str) -> Route:
    """Store a secret's value."""
    return Route("PUT", f"/v1/secrets/{quote(name, safe='')}", query={"namespace": namespace}, body={"value": value})


def delete_secret(name: str, namespace: str) -> Route:
    """Forget a secret."""
    return Route("DELETE", f"/v1/secrets/{quote(name, safe='')}", query={"namespace": namespace})


def environments() -> Route:
    """Built environments."""
    return Route("GET", "/v1/environments")


def build_environment(spec: Mapping[str, object]) -> Route:
    """Build an environment ahead of its first function."""
    return Route("POST", "/v1/environments", body=dict(spec))


def start_batch(spec: Mapping[str, object], *, dry_run: bool = False) -> Route:
    """Start a batch run, or check and estimate it."""
    return Route("POST", "/v1/batches", query={"dry_run": "true"} if dry_run else {}, body=dict(spec))


def batches(
    *, namespace: str | None = None, function: str | None = None, state: str | None = None, limit: int = 50
) -> Route:
    """Batch runs, the newest first."""
    query = _given(namespace=namespace, function=function, state=state, limit=str(limit))
    return Route("GET", "/v1/batches", query={key: str(value) for key, value in query.items()})


def batch(batch_id: str) -> Route:
    """One batch run."""
    return Route("GET", _batch(batch_id))


def act_on_batch(batch_id: str, action: str, **changes: object) -> Route:
    """``pause``, ``resume`` or ``cancel`` a batch run."""
    return Route("POST", f"{_batch(batch_id)}/{action}", body=_given(**changes))


def batch_events(batch_id: str) -> Route:
    """A batch run's document at each change."""
    return Route("GET", f"{_batch(batch_id)}/events")


def batch_output(batch_id: str, name: str | None = None) -> Route:
    """The files of an output that the platform keeps, or one of them."""
    return Route("GET", f"{_batch(batch_id)}/output" + ("" if name is None else f"/{quote(name, safe='')}"))


def upload(name: str, piece: bytes) -> Route:
    """Begin an input file."""
    return Route("POST", "/v1/batches/uploads", query={"name": name}, content=piece)


def upload_more(upload_id: str, offset: int, piece: bytes) -> Route:
    """Its next piece."""
    path = f"/v1/batches/uploads/{quote(upload_id, safe='')}"
    return Route("PATCH", path, query={"offset": str(offset)}, content=piece)


def submit_job(path: str, body: bytes) -> Route:
    """A call of ``path`` that is to be a job."""
    return Route("POST", path, content=body)


def jobs(**filters: object) -> Route:
    """Jobs, newest first: by namespace, function, state, source, since, until; limit and cursor."""
    return Route("GET", "/v1/jobs", query={key: str(value) for key, value in _given(**filters).items()})


def job(job_id: str) -> Route:
    """One job."""
    return Route("GET", _job(job_id))


def job_input(job_id: str) -> Route:
    """What it was submitted with."""
    return Route("GET", f"{_job(job_id)}/input")


def job_result(job_id: str, wait_s: float = 0.0) -> Route:
    """What it answered; ``wait_s``: wait so long for its end."""
    return Route("GET", f"{_job(job_id)}/result", query={"wait": f"{wait_s:g}"} if wait_s else {})


def job_events(job_id: str, *, after: int = 0, follow: bool = True) -> Route:
    """What happens to it, behind the event ``after``."""
    query = {"after": str(after), "follow": "true" if follow else "false"}
    return Route("GET", f"{_job(job_id)}/events", query=query)


def cancel_job(job_id: str) -> Route:
    """End it."""
    return Route("DELETE", _job(job_id))


def retry_job(job_id: str, document: Mapping[str, object] | None = None) -> Route:
    """Run it again, with another input if ``document`` has one."""
    return Route("POST", f"{_job(job_id)}/retry", body=dict(document or {}))


def purge_jobs(before: str | None = None, state: str | None = None) -> Route:
    """Forget jobs that have ended."""
    query = {key: str(value) for key, value in _given(before=before, state=state).items()}
    return Route("POST", "/v1/jobs/purge", query=query)


def _job(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _batch(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id, safe='')}"


def _function(name: str) -> str:
    return f"/v1/functions/{quote(name, safe='')}"


def _action(name: str, namespace: str, action: str, body: Json) -> Route:
    return Route("POST", f"{_function(name)}/{action}", query={"namespace": namespace}, body=body)


def _given(**values: object) -> Json:
    return {key: value for key, value in values.items() if value is not None}


def _dry_run(dry_run: bool) -> dict[str, str]:
    return {} if dry_run else {"dry_run": "false"}


def _force(force: bool) -> dict[str, str]:
    return {"force": "true"} if force else {}

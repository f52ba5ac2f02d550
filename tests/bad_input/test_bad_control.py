"""Every control route under junk: no answer but a problem document of the 4xx kind, or a sound one."""

from __future__ import annotations

import json
from typing import Final

import httpx
import pytest

from tests.bad_input.calls import MALFORMED
from tests.support.running_platform import RunningPlatform

SPEC: Final[dict[str, object]] = {"name": "junk", "source": "def junk(): pass", "handler": "junk"}
BIG: Final = 10**30
JUNK_VALUES: Final[list[object]] = [
    None, True, 0, -1, BIG, 1.5, 1e308, "", "x", "\ud800", "\0", "a" * 10_000, [], [None], [[]], {}, {"a": None},
    {"": ""}, {"\0": "\0"}, [1, "a", {}], "../../etc", "\u202e", {"1": BIG}, {"1": -1}, {"1": "x"},
]  # fmt: skip
FIELDS: Final[dict[tuple[str, str], dict[str, object]]] = {
    ("POST", "/v1/functions?dry_run=false"): SPEC | {"namespace": "junk", "options": {}, "public_key": ""},
    ("PUT", "/v1/functions/echo/aliases/junk"): {"revision": 1, "weights": {"1": 1}},
    ("POST", "/v1/functions/echo/rollback"): {"revision": 1, "alias": "junk"},
    ("POST", "/v1/functions/echo/promote"): {"revision": 1, "from_alias": "latest", "alias": "junk"},
    ("PUT", "/v1/functions/echo/scaling"): dict.fromkeys(
        ("min_replicas", "max_replicas", "buffer_replicas", "target_concurrency", "keep_alive_s"), 1
    ),
    ("POST", "/v1/functions/echo/warmup"): {"replicas": 1},
    ("POST", "/v1/tokens"): {"name": "a", "scopes": ["invoke"], "namespaces": ["a"], "expires_in_s": 1},
    ("PUT", "/v1/secrets/JUNK"): {"value": "x"},
    ("POST", "/v1/batches"): {
        "function": "echo",
        "namespace": "default",
        "ref": "latest",
        "method": "m",
        "items": [{"x": 1}],
        "input_format": "jsonl",
        "output": "s3://a/b",
        "output_format": "jsonl",
        "mapping": {"x": "x"},
        "key": "x",
        "rows_per_part": 1,
        "max_concurrency": 1,
        "deadline": "2027-01-01T00:00:00Z",
        "max_failed_fraction": 0.5,
        "overwrite": True,
    },
    ("POST", "/v1/schedules"): {
        "name": "junk",
        "function": "echo",
        "cron": "@daily",
        "timezone": "UTC",
        "arguments": {},
        "method": "m",
        "start": "2026-01-01",
        "end": "2099-01-01",
        "jitter_s": 1,
        "overlap": "skip",
        "misfire": "skip",
        "misfire_grace_s": 1,
        "late_after_s": 1,
        "batch": {"input": "x"},
        "webhooks": [],
        "paused": True,
        "ref": "1",
    },
    ("POST", "/v1/webhooks"): {"url": "https://example.com/", "events": ["*"], "description": "x"},
    ("POST", "/v1/environments"): {"python_packages": [], "preload": [], "env": {}, "files": []},
}
OPTIONS: Final = [
    "namespace", "environment", "gpu", "cpu", "memory_mib", "batch", "scaling", "concurrency", "timeout_s", "retries",
    "startup_timeout_s", "max_queue_depth", "secrets", "env", "labels", "warmup", "idempotent", "coalesce",
    "schedule",
]  # fmt: skip
NESTED: Final = {
    "batch": "max_batch_size batch_timeout_ms max_batch_cost cost_fn latency_target_ms isolate_errors",
    "scaling": "min_replicas max_replicas buffer_replicas target_concurrency keep_alive_s",
    "retries": "max_attempts initial_delay_s backoff max_delay_s on_function_error",
    "environment": "preload env files",
}
BAD_QUERIES: Final = [
    "namespace=%ff", "namespace=../x", "namespace=", "namespace=%00", "namespace=" + "a" * 5000, "force=maybe",
    "lines=-1", "lines=1e9", "lines=9" + "9" * 400, "revision=x", "revision=9" + "9" * 40, "follow=7", "%zz=%zz",
    "&&&=", "dry_run=2", "reference=%00", "reference=nowhere",
]  # fmt: skip
BAD_NAMES: Final = [
    "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "%0a", "%ff", "%F0%9F%94%A5", "A", "a" * 5000, "echo%0a", "unknown",
    "-1", "9" * 50, "%27%20or%201%3D1", "1e5", "null",
]  # fmt: skip
ROUTES: Final = [
    "GET /v1/functions/{}", "DELETE /v1/functions/{}", "DELETE /v1/functions/echo/revisions/{}",
    "DELETE /v1/functions/{}/revisions/1", "PUT /v1/functions/{}/aliases/a", "DELETE /v1/functions/echo/aliases/{}",
    "PUT /v1/functions/echo/aliases/{}", "POST /v1/functions/{}/rollback", "POST /v1/functions/{}/promote",
    "PUT /v1/functions/{}/scaling", "DELETE /v1/functions/{}/scaling", "POST /v1/functions/{}/warmup",
    "POST /v1/functions/{}/retry", "GET /v1/functions/{}/logs", "DELETE /v1/tokens/{}", "PUT /v1/secrets/{}",
    "DELETE /v1/secrets/{}", "GET /v1/models/{}", "GET /v2/models/{}", "GET /v2/models/{}/ready",
    "GET /v2/models/echo/versions/{}", "POST /v2/repository/models/{}/load", "POST /v2/repository/models/{}/unload",
    "GET /v1/batches/{}", "POST /v1/batches/{}/pause", "POST /v1/batches/{}/resume", "POST /v1/batches/{}/cancel",
    "GET /v1/batches/{}/events", "GET /v1/batches/{}/output", "GET /v1/batches/{}/output/x",
    "PATCH /v1/batches/uploads/{}?offset=1",
    "GET /v1/schedules/{}", "PATCH /v1/schedules/{}", "DELETE /v1/schedules/{}", "POST /v1/schedules/{}/pause",
    "POST /v1/schedules/{}/resume", "POST /v1/schedules/{}/run", "POST /v1/schedules/{}/backfill",
    "GET /v1/schedules/{}/runs", "GET /v1/webhooks/{}", "PATCH /v1/webhooks/{}", "DELETE /v1/webhooks/{}",
    "POST /v1/webhooks/{}/rotate", "POST /v1/webhooks/{}/test", "GET /v1/webhooks/{}/deliveries",
    "GET /v1/webhooks/deliveries/{}", "POST /v1/webhooks/deliveries/{}/redeliver",
    "GET /v1/{}", "POST /{}", "GET /n/{}/f/echo",
]  # fmt: skip


def what_is_wrong(answer: httpx.Response, *, may_pass: bool) -> str:
    if may_pass and answer.status_code < 300:
        return ""
    if not 400 <= answer.status_code < 500:
        return f"{answer.status_code}: {answer.text[:400]}"
    if answer.request.url.path.startswith(("/v1/models/", "/v2/")) and "error" in answer.json():
        return ""  # KServe's own form
    if answer.headers["content-type"] != "application/problem+json":
        return f"no problem document: {answer.text[:400]}"
    document = answer.json()
    return "" if document["code"] and document["hint"] and document["detail"] else f"lacking: {document}"


class Junk:
    """Sends, and collects what went wrong."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.wrong: dict[str, str] = {}

    def send(self, method: str, path: str, body: object = b"", *, may_pass: bool = False, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.client.request(method, path, content=content, headers=headers)
        problem = what_is_wrong(answer, may_pass=may_pass)
        if problem:
            self.wrong[f"{method} {path[:80]} {content[:200]!r}"] = problem


@pytest.fixture
def junk(platform: RunningPlatform):  # type: ignore[no-untyped-def]
    with platform.client() as client:
        sender = Junk(client)
        yield sender
    assert not sender.wrong


@pytest.mark.parametrize("route", FIELDS, ids=lambda route: " ".join(route))
def test_junk_documents(junk: Junk, route: tuple[str, str]) -> None:
    for body in [*MALFORMED.values(), b"[]", b"1", b'"x"', b"true", b'{"unknown": 1}']:
        junk.send(*route, body)
    for body in (b"", b"null", b"{}"):
        junk.send(*route, body, may_pass=True)


@pytest.mark.parametrize("route", FIELDS, ids=lambda route: " ".join(route))
def test_junk_fields(junk: Junk, route: tuple[str, str]) -> None:
    for name in FIELDS[route]:
        for value in JUNK_VALUES:
            junk.send(*route, FIELDS[route] | {name: value}, may_pass=True)
            junk.send(*route, {name: value}, may_pass=True)


def test_junk_options(junk: Junk) -> None:
    for name in OPTIONS:
        for value in JUNK_VALUES:
            junk.send("POST", "/v1/functions?dry_run=false", SPEC | {"options": {name: value}}, may_pass=True)
    for name, members in NESTED.items():
        for member in members.split():
            for value in JUNK_VALUES:
                options = {name: {member: value}}
                junk.send("POST", "/v1/functions?dry_run=false", SPEC | {"options": options}, may_pass=True)


def test_junk_in_names_and_queries(junk: Junk) -> None:
    for route in ROUTES:
        method, path = route.split()
        for name in BAD_NAMES:
            junk.send(method, path.format(name), b'{"value": "x", "replicas": 1}' if "{}/" not in path else b"{}")
    for query in BAD_QUERIES:
        for path in ("/v1/functions", "/v1/functions/echo", "/v1/functions/echo/logs", "/v1/secrets", "/v1/pool"):
            if query != "follow=7" or not path.endswith("logs"):
                junk.send("GET", f"{path}?{query}", may_pass=True)


def test_wrong_methods(junk: Junk) -> None:
    for path in ("/v1/functions", "/v1/pool", "/v1/info", "/v1/functions/echo/warmup", "/healthz", "/metrics"):
        for method in ("PUT", "PATCH", "TRACE", "OPTIONS"):
            junk.send(method, path)


def test_sources_that_cannot_be_functions(junk: Junk) -> None:
    for source, handler in [
        ("def f(:", "f"), ("", "f"), ("f = 1", "f"), ("def f(): pass", "g"), ("def f(): pass", ""),
        ("def f(): pass", "__import__('os')"), ("def f(): pass", "f.__globals__"), ("\0", "f"), ("(" * 5000, "f"),
        ("x = " + "-" * 20000 + "1", "x"), ("raise SystemExit", "f"),
        ("def f(): pass\n" + "x=" + "[" * 150 + "]" * 150, "nope"), ("import os; os._exit(3)\ndef f(): pass", "f"),
        ("def f(): pass\nimport sys; sys.exit(0)", "f"), ("f = lambda: \ud800", "f"), ("1/0\ndef f(): pass", "f"),
        ("class f:\n def __init__(self): raise ValueError\n def __call__(self): pass", "f"),
        ("import ctypes; ctypes.string_at(0)\ndef f(): pass", "f"),
    ]:  # fmt: skip
        junk.send("POST", "/v1/functions", {"name": "junk", "source": source, "handler": handler})

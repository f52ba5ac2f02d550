"""Registration on a real platform: bundles, signatures, trial runs, races."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.support.platform_process import platform_in_process, source_spec

from stoker.bundle import build_bundle
from stoker.signing import new_private_key, public_key_of, sign

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    async with platform_in_process(tmp_path_factory.mktemp("data")) as (_, found):
        yield found


def triple(x: int) -> int:
    """Triple it."""
    return x * 3


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def upload(
    client: httpx.AsyncClient, name: str, bundle: bytes, key: bytes, *, token: str | None = None, **changes: str
) -> httpx.Response:
    spec = {
        "name": name,
        "namespace": "default",
        "handler": "triple",
        "options": {},
        "public_key": encoded(public_key_of(key)),
        "signature": encoded(sign(bundle, key)),
        **changes,
    }
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return await client.post(
        "/v1/functions",
        data={"spec": json.dumps(spec)},
        files={"bundle": ("bundle.zip", bundle, "application/zip")},
        headers=headers,
    )


async def test_a_signed_bundle_runs_with_its_types(client: httpx.AsyncClient) -> None:
    answer = await upload(client, "triple", build_bundle(triple), new_private_key())
    assert answer.status_code == 201, answer.text
    assert answer.json()["schema"]["input"]["properties"]["x"]["type"] == "integer"
    assert (await client.post("/f/triple", json={"x": 14})).json() == 42
    wrong = await client.post("/f/triple", json={"x": "many"})
    assert (wrong.status_code, [item["path"] for item in wrong.json()["errors"]]) == (422, ["x"])
    again = await upload(client, "triple", build_bundle(triple), new_private_key())
    assert (again.status_code, again.json()["revision"]) == (200, 1)


async def test_a_bundle_that_was_changed_on_its_way_is_refused(client: httpx.AsyncClient) -> None:
    key, bundle = new_private_key(), build_bundle(triple)
    for changes in (
        {"signature": encoded(sign(bundle + b" ", key))},
        {"signature": encoded(b"\0" * 64)},
        {"public_key": encoded(public_key_of(new_private_key()))},
    ):
        answer = await upload(client, "changed", bundle, key, **changes)
        assert (answer.status_code, answer.json()["code"]) == (422, "bundle_tampered")
    assert (await client.get("/v1/functions/changed")).status_code == 404


async def test_a_token_deploys_with_the_key_it_began_with(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/tokens", json={"name": "ci", "scopes": ["deploy"]})
    token, key, bundle = made.json()["token"], new_private_key(), build_bundle(triple)
    assert (await upload(client, "owned", bundle, key, token=token)).status_code == 201
    assert (await upload(client, "owned2", bundle, key, token=token)).status_code == 201
    refused = await upload(client, "owned3", bundle, new_private_key(), token=token)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_many_identical_registrations_make_one_revision(client: httpx.AsyncClient) -> None:
    spec = source_spec("raced", "def raced(): return 1")
    answers = await asyncio.gather(*(client.post("/v1/functions", json=spec) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert {answer.json()["revision"] for answer in answers} == {1}


async def test_different_registrations_at_once_get_different_numbers(client: httpx.AsyncClient) -> None:
    specs = [source_spec("crowd", f"def crowd(): return {number}") for number in range(5)]
    answers = await asyncio.gather(*(client.post("/v1/functions", json=spec) for spec in specs))
    assert sorted(answer.json()["revision"] for answer in answers) == [1, 2, 3, 4, 5]
    last = max(answers, key=lambda answer: answer.json()["revision"])
    expected = specs[answers.index(last)]["source"].rpartition(" ")[2]
    assert (await client.post("/f/crowd", json={})).text == expected


BROKEN: dict[str, tuple[str, dict[str, Any], str]] = {
    "raises at import": ("raise RuntimeError('no weights here')\ndef f(): ...", {}, "no weights here"),
    "ends the process": ("import os\nos._exit(3)\ndef f(): ...", {}, "ended"),
    "a class that cannot be made": ("class f:\n def __init__(self): 1/0\n def __call__(self): ...", {}, "division"),
    "a warm-up that raises": ("def f(x): return 1 / x", {"warmup": {"x": 0}}, "division by zero"),
    "a warm-up that does not fit": ("def f(x: int): return x", {"warmup": {"x": "a"}}, "x"),
    "a start that takes too long": (
        "import threading\nclass f:\n def __init__(self): threading.Event().wait()\n def __call__(self): ...",
        {"startup_timeout_s": 0.5},
        "startup_timeout_s=0.5",
    ),
}


@pytest.mark.parametrize(("source", "options", "words"), BROKEN.values(), ids=BROKEN)
async def test_what_does_not_start_is_refused_with_its_own_words(
    client: httpx.AsyncClient, source: str, options: dict[str, Any], words: str
) -> None:
    answer = await client.post("/v1/functions", json=source_spec("broken", source, "f", **options))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "preflight_failed"), problem
    assert words in problem["detail"]
    assert problem["findings"]
    assert (await client.get("/v1/functions/broken")).status_code == 404


async def test_without_a_trial_run_nothing_is_started(client: httpx.AsyncClient) -> None:
    spec = source_spec("untried", "raise RuntimeError('later')\ndef untried(): ...")
    answer = await client.post("/v1/functions?dry_run=false", json=spec)
    assert (answer.status_code, answer.json()["schema"]) == (201, None)
    called = await client.post("/f/untried", json={})
    assert (called.status_code, called.json()["code"]) == (503, "crash_looping")
    assert "later" in called.json()["detail"] + called.json()["log_tail"]
    described = (await client.get("/v1/functions/untried")).json()
    assert "later" in described["breaker"]["reason"]
    assert (await client.post("/v1/functions/untried/retry", json={})).json() == {"breaker": None}
    assert (await client.get("/v1/functions/untried")).json()["breaker"] is None


async def test_a_refused_revision_leaves_the_live_one_alone(client: httpx.AsyncClient) -> None:
    await client.post("/v1/functions", json=source_spec("steady", "def steady(): return 1"))
    refused = await client.post("/v1/functions", json=source_spec("steady", "def steady(): return 1\n1/0"))
    assert refused.status_code == 422
    assert (await client.post("/f/steady", json={})).text == "1"
    assert len((await client.get("/v1/functions/steady")).json()["revisions"]) == 1


async def test_what_is_registered_is_in_the_openapi_document(client: httpx.AsyncClient) -> None:
    source = "def typed(text: str, limit: int = 3) -> list[str]: return [text] * limit"
    await client.post("/v1/functions", json=source_spec("typed", source))
    document = (await client.get("/openapi.json")).json()
    body = document["paths"]["/f/typed"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["limit"]["type"] == "integer"
    assert {"/v1/functions", "/v1/functions/{name}", "/healthz"} <= document["paths"].keys()


async def test_metrics_tell_of_calls_replicas_and_phases(client: httpx.AsyncClient) -> None:
    await client.post("/v1/functions", json=source_spec("counted", "def counted(x): return 1 / x"))
    await client.post("/f/counted", json={"x": 1})
    await client.post("/f/counted", json={"x": 0})
    text = (await client.get("/metrics")).text
    labels = 'function="counted",namespace="default",revision="1"'
    assert f"stoker_calls_total{{{labels}}} 2.0" in text
    assert f'stoker_errors_total{{code="function_error",{labels}}} 1.0' in text
    assert f"stoker_cold_starts_total{{{labels}}} 1.0" in text
    for name in ("queue_depth", "queue_age_seconds", "in_flight", "memory_bytes", "batch_size_bucket", "replicas"):
        assert f"stoker_{name}{{" in text
    for phase in ("queue", "cold", "decode", "execute", "encode"):
        assert f'phase="{phase}"' in text


async def test_logs_are_read_and_followed(client: httpx.AsyncClient) -> None:
    spec = source_spec("talks", "def talks(text):\n    print(text)\n    return len(text)")
    await client.post("/v1/functions", json=spec)
    called = await client.post("/f/talks", json={"text": "first"})
    headers = {"accept": "text/event-stream"}
    async with client.stream("GET", "/v1/functions/talks/logs?follow=true", headers=headers) as response:
        lines = response.aiter_lines()
        first = json.loads((await anext(line async for line in lines if line)).removeprefix("data: "))
        assert (first["line"], first["stream"]) == ("first", "stdout")
        assert first["invocation"] == called.headers["x-request-id"]
        await client.post("/f/talks", json={"text": "second"})
        second = json.loads((await anext(line async for line in lines if line)).removeprefix("data: "))
        assert second["line"] == "second"
    plain = await client.get("/v1/functions/talks/logs?lines=1")
    assert [json.loads(line)["line"] for line in plain.text.splitlines()] == ["second"]


async def test_what_is_in_use_says_how_to_delete_it_all_the_same(client: httpx.AsyncClient) -> None:
    await client.post("/v1/functions", json=source_spec("held", "def held(x): return x"))
    await client.put("/v1/functions/held/aliases/prod", json={"revision": 1})
    refused = await client.delete("/v1/functions/held")
    assert refused.status_code == 409
    assert "--force" in refused.json()["hint"]
    assert "?force=true" in refused.json()["hint"]
    assert (await client.delete("/v1/functions/held?force=true")).status_code == 200


async def test_an_environment_is_named_before_it_is_needed(client: httpx.AsyncClient) -> None:
    built = await client.post("/v1/environments", json={})
    assert (built.status_code, built.json()["state"]) == (200, "built")
    assert (await client.get("/v1/environments")).json() == {"environments": []}

"""Whatever a peer sends to the control API, the answer is a problem document of the 4xx kind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.support.platform_process import platform_in_process, source_spec

GOOD = source_spec("good", "def good(x): return x")
MEMBERS = {"type", "title", "status", "detail", "code", "phase", "retryable", "hint", "function", "request_id"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    async with platform_in_process(tmp_path_factory.mktemp("data")) as (_, found):
        yield found


pytestmark = pytest.mark.asyncio(loop_scope="module")


def problem_of(answer: httpx.Response) -> dict[str, object]:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, object] = answer.json()
    assert document.keys() >= MEMBERS
    assert document["status"] == answer.status_code
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


BODIES = {
    "empty": b"",
    "no json": b"{",
    "an array": b"[1]",
    "null": b"null",
    "a number": b"7",
    "deep nesting": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "invalid utf-8": b'{"name": "\xff"}',
    "a lone surrogate": b'{"name": "\\ud800", "source": "", "handler": "f"}',
    "a surrogate in the source": b'{"name": "a", "source": "\\udfff", "handler": "f"}',
    "NaN": b'{"name": "a", "source": "", "handler": "f", "options": {"timeout_s": NaN}}',
    "a huge integer": b'{"name": "a", "source": "", "handler": "f", "options": {"timeout_s": ' + b"9" * 5000 + b"}}",
    "a NUL": b'{"name": "a\\u0000", "source": "x", "handler": "f"}',
    "utf-16": '{"name": "a"}'.encode("utf-16"),
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_is_no_document_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    for path in ("/v1/functions", "/v1/tokens", "/v1/environments?"):
        if body == b"" and path.startswith("/v1/environments"):
            continue  # an empty environment is one
        problem_of(await client.post(path, content=body, headers={"content-type": "application/json"}))


FIELDS = {
    "an unknown field": GOOD | {"extra": 1},
    "no handler": {key: value for key, value in GOOD.items() if key != "handler"},
    "a name with a slash": GOOD | {"name": "../../etc/passwd"},
    "a name of dots": GOOD | {"name": ".."},
    "an upper-case name": GOOD | {"name": "Good"},
    "a Unicode name": GOOD | {"name": "gut-für"},
    "look-alike letters": GOOD | {"name": "gооd"},
    "an empty name": GOOD | {"name": ""},
    "a long name": GOOD | {"name": "a" * 64},
    "a name that is a number": GOOD | {"name": 7},
    "a namespace with a slash": GOOD | {"namespace": "a/b"},
    "options that are a list": GOOD | {"options": []},
    "an unknown option": GOOD | {"options": {"gpus": "A100"}},
    "an unknown option of a batch": GOOD | {"options": {"batch": {"size": 3}}},
    "a negative timeout": GOOD | {"options": {"timeout_s": -1}},
    "a timeout of the wrong type": GOOD | {"options": {"timeout_s": "soon"}},
    "an infinite keep-alive": GOOD | {"options": {"scaling": {"keep_alive_s": 1e400}}},
    "more least than most replicas": GOOD | {"options": {"scaling": {"min_replicas": 9, "max_replicas": 1}}},
    "a package with a shell in it": GOOD | {"options": {"environment": {"python_packages": ["; rm -rf /"]}}},
    "a package that is an option": GOOD | {"options": {"environment": {"python_packages": ["--index-url=http://x"]}}},
    "a module with a slash": GOOD | {"options": {"environment": {"preload": ["../x"]}}},
    "a GPU that is no GPU": GOOD | {"options": {"gpu": "A100:0"}},
    "a syntax error": GOOD | {"source": "def good(:"},
    "a NUL in the source": GOOD | {"source": "def good(): ...\0"},
    "a handler that is not there": GOOD | {"handler": "missing"},
    "a handler that is no name": GOOD | {"handler": "__import__('os').system('true')"},
    "a handler of dots": GOOD | {"handler": "..."},
    "an import that nobody has": GOOD | {"source": "import nowhere_to_be_found\ndef good(x): return x"},
}


@pytest.mark.parametrize("document", FIELDS.values(), ids=FIELDS)
async def test_a_wrong_registration_is_refused_with_a_reason(
    client: httpx.AsyncClient, document: dict[str, object]
) -> None:
    content = json.dumps(document).replace("Infinity", "1e400").encode()
    found = problem_of(await client.post("/v1/functions", content=content))
    assert found["detail"]
    assert (await client.get("/v1/functions")).json()["functions"] == []


PATHS = [
    "/nowhere",
    "/v1/functions/..%2f..%2fetc%2fpasswd",
    "/v1/functions/%2e%2e",
    "/v1/functions/%00",
    "/v1/functions/%ff%fe",
    "/v1/functions/f%C3%BCr",
    "/v1/functions/" + "a" * 3000,
    "/v1/functions/none",
    "/v1/functions/none/logs",
    "/v1/functions/none/logs?follow=true",
    "/v1/functions/none?namespace=..",
    "/v1/functions/none/logs?lines=-1",
    "/v1/functions/none/logs?lines=many",
    "/v1/functions?namespace=%2e%2e",
    "/v1/secrets?namespace=A",
]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
async def test_a_path_that_leads_nowhere_is_refused(client: httpx.AsyncClient, path: str) -> None:
    problem_of(await client.get(path))


async def test_a_wrong_method_names_the_right_ones(client: httpx.AsyncClient) -> None:
    answer = await client.request("PATCH", "/v1/functions/none")
    assert problem_of(answer)["code"] == "method_not_allowed"
    assert "GET" in answer.headers["allow"]


MULTIPARTS: dict[str, tuple[bytes, str]] = {
    "no boundary": (b"x", "multipart/form-data"),
    "nothing in it": (b"--b--\r\n", "multipart/form-data; boundary=b"),
    "cut short": (
        b'--b\r\nContent-Disposition: form-data; name="spec"\r\n\r\n{',
        "multipart/form-data; boundary=b",
    ),
    "no bundle": (
        b'--b\r\nContent-Disposition: form-data; name="spec"\r\n\r\n{}\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
    ),
    "a spec that is no text": (
        b'--b\r\nContent-Disposition: form-data; name="spec"\r\n\r\n\xff\xfe\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
    ),
}


@pytest.mark.parametrize(("body", "content_type"), MULTIPARTS.values(), ids=MULTIPARTS)
async def test_a_broken_multipart_is_refused(client: httpx.AsyncClient, body: bytes, content_type: str) -> None:
    problem_of(await client.post("/v1/functions", content=body, headers={"content-type": content_type}))


BUNDLES = {
    "no zip": b"no zip at all",
    "empty": b"",
    "a zip without a manifest": b"PK\x05\x06" + b"\0" * 18,
}


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
async def test_a_bundle_that_is_none_is_refused(client: httpx.AsyncClient, bundle: bytes) -> None:
    spec = {"name": "good", "handler": "good", "options": {}, "public_key": "AAAA", "signature": "AAAA"}
    answer = await client.post(
        "/v1/functions", data={"spec": json.dumps(spec)}, files={"bundle": ("b.zip", bundle, "application/zip")}
    )
    problem_of(answer)


TOKENS = {
    "no scopes": {"name": "x", "scopes": []},
    "an unknown scope": {"name": "x", "scopes": ["root"]},
    "a bad namespace": {"name": "x", "scopes": ["invoke"], "namespaces": ["../x"]},
    "no time": {"name": "x", "scopes": ["invoke"], "expires_in_s": 0},
    "a year of 10000": {"name": "x", "scopes": ["invoke"], "expires_in_s": 1e300},
}


@pytest.mark.parametrize("spec", TOKENS.values(), ids=TOKENS)
async def test_a_wrong_token_spec_is_refused(client: httpx.AsyncClient, spec: dict[str, object]) -> None:
    problem_of(await client.post("/v1/tokens", json=spec))


@pytest.mark.parametrize("name", ["A-B", "1A", "PATH", "LD_PRELOAD", "PYTHONPATH", "a%2fb", "%00"])
async def test_a_secret_that_could_change_the_worker_is_refused(client: httpx.AsyncClient, name: str) -> None:
    problem_of(await client.put(f"/v1/secrets/{name}", json={"value": "x"}))


async def test_a_wrong_field_is_named_by_its_path(client: httpx.AsyncClient) -> None:
    found = problem_of(await client.post("/v1/functions", json=GOOD | {"handler": 7}))
    errors = found["errors"]
    assert isinstance(errors, list)
    assert [item["path"] for item in errors] == ["handler"]


@pytest.mark.parametrize("header", ["", "Bearer", "Basic eDp5", "Bearer " + "a" * 5000, "Bearer a b"])
async def test_a_header_without_a_token_opens_nothing(client: httpx.AsyncClient, header: str) -> None:
    answer = await client.get("/v1/functions", headers={"authorization": header})
    assert problem_of(answer)["code"] == "unauthorized"
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_errors_show_no_inside(client: httpx.AsyncClient, tmp_path: Path) -> None:
    texts = [(await client.get(path)).text for path in PATHS]
    assert not [text for text in texts if "Traceback" in text or "site-packages" in text]

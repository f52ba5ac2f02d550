"""Tokens that open nothing, on every kind of route."""

from __future__ import annotations

import json

import pytest

from tests.support.raw_http import RawAnswer, exchange, parse_answers, request_bytes
from tests.support.running_platform import RunningPlatform

BAD = {
    "none": "",
    "empty": "Bearer",
    "spaces": "Bearer    ",
    "garbage": "Bearer garbage",
    "foreign": "Bearer stoker_" + "A" * 43,
    "basic": "Basic dXNlcjpwYXNz",
    "twice": "Bearer a, Bearer b",
    "latin": "Bearer \xff\xfe",
    "long": "Bearer " + "x" * 20_000,
    "quoted": 'Bearer "or 1=1--"',
}
ROUTES = [
    ("POST", "/f/echo"), ("POST", "/f/unknown"), ("POST", "/v1/models/echo:predict"), ("POST", "/v2/models/echo/infer"),
    ("GET", "/v1/functions"), ("POST", "/v1/functions"), ("DELETE", "/v1/functions/echo"), ("GET", "/v1/pool"),
    ("GET", "/v1/tokens"), ("POST", "/v1/tokens"), ("PUT", "/v1/secrets/A"), ("GET", "/v1/environments"),
    ("POST", "/v1/environments"), ("GET", "/v1/functions/echo/logs"), ("PUT", "/v1/functions/echo/scaling"),
    ("POST", "/v2/repository/models/echo/unload"),
]  # fmt: skip


def send(platform: RunningPlatform, method: str, path: str, authorization: str, body: bytes = b"{}") -> RawAnswer:
    headers = {"Authorization": authorization} if authorization else {}
    with platform.connect() as connection:
        (answer,) = parse_answers(exchange(connection, request_bytes(method, path, headers, body)))
    return answer


@pytest.mark.parametrize("name", BAD)
def test_bad_tokens_open_nothing(platform: RunningPlatform, name: str) -> None:
    answers = {route: send(platform, *route, BAD[name]) for route in ROUTES}
    assert not {route: answer.status for route, answer in answers.items() if answer.status != 401}
    assert all(answer.problem["hint"] and answer.problem["code"] == "unauthorized" for answer in answers.values())
    assert all(answer.headers["www-authenticate"].startswith("Bearer") for answer in answers.values())


@pytest.fixture
def make_token(platform: RunningPlatform):  # type: ignore[no-untyped-def]
    def make(**spec: object) -> dict[str, str]:
        with platform.client() as client:
            answer = client.post("/v1/tokens", json={"name": "test", **spec})
        assert answer.status_code == 201, answer.text
        made: dict[str, str] = answer.json()
        return made

    return make


def test_an_expired_token_opens_nothing(platform: RunningPlatform, make_token) -> None:  # type: ignore[no-untyped-def]
    token = make_token(scopes=["admin"], expires_in_s=1e-6)["token"]
    answers = [send(platform, *route, f"Bearer {token}") for route in ROUTES]
    assert {answer.status for answer in answers} == {401}
    assert "expired" in str(answers[0].problem["detail"])


def test_a_revoked_token_opens_nothing(platform: RunningPlatform, make_token) -> None:  # type: ignore[no-untyped-def]
    made = make_token(scopes=["invoke"])
    assert send(platform, "POST", "/f/echo", f"Bearer {made['token']}").status == 200
    with platform.client() as client:
        assert client.delete(f"/v1/tokens/{made['id']}").status_code == 200
    assert send(platform, "POST", "/f/echo", f"Bearer {made['token']}").status == 401


def test_scopes_and_namespaces_are_kept(platform: RunningPlatform, make_token) -> None:  # type: ignore[no-untyped-def]
    caller = f"Bearer {make_token(scopes=['invoke'])['token']}"
    elsewhere = f"Bearer {make_token(scopes=['deploy'], namespaces=['other'])['token']}"
    source = json.dumps({"name": "mine", "source": "def mine(): pass", "handler": "mine"}).encode()
    answers = [
        send(platform, "POST", "/v1/functions", caller, source),
        send(platform, "DELETE", "/v1/functions/echo", caller),
        send(platform, "GET", "/v1/tokens", caller),
        send(platform, "GET", "/v1/functions/echo/logs", caller),
        send(platform, "POST", "/f/echo", elsewhere),
        send(platform, "POST", "/v1/functions", elsewhere, source),
        send(platform, "GET", "/v1/functions/echo", elsewhere),
        send(platform, "PUT", "/v1/secrets/A", elsewhere, b'{"value": "x"}'),
        send(platform, "POST", "/v1/tokens", elsewhere, b'{"name": "a", "scopes": ["admin"]}'),
    ]
    assert [answer.status for answer in answers] == [403] * len(answers)
    assert all(answer.problem["hint"] for answer in answers)

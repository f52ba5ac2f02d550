"""Tokens, scopes, namespaces and secrets, on a real platform."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.platform_process import PlatformProcess, platform_process, register

READS_KEY = "import os\ndef reads(): return os.environ.get('API_KEY')"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    with platform_process(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def admin(platform: PlatformProcess) -> Iterator[httpx.Client]:
    with platform.client() as found:
        register(found, "double", "def double(x): return x * 2")
        yield found


def token(admin: httpx.Client, **spec: Any) -> dict[str, Any]:
    answer = admin.post("/v1/tokens", json={"name": "test", **spec})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_token_opens_its_scopes_and_no_more(platform: PlatformProcess, admin: httpx.Client) -> None:
    caller = token(admin, scopes=["invoke"])
    with platform.client(caller["token"]) as client:
        assert client.post("/f/double", json={"x": 2}).text == "4"
        assert client.get("/v1/functions/double").status_code == 200
        refused = client.post("/v1/functions", json={"name": "mine", "source": "def mine(): ...", "handler": "mine"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert client.delete("/v1/functions/double").status_code == 403
        assert client.get("/v1/tokens").status_code == 403
    deployer = token(admin, scopes=["deploy"])
    with platform.client(deployer["token"]) as client:
        register(client, "mine", "def mine(): return 1")
        assert client.post("/f/mine", json={}).text == "1"
        assert client.post("/v1/tokens", json={"name": "more", "scopes": ["admin"]}).status_code == 403


def test_a_token_stays_in_its_namespaces(platform: PlatformProcess, admin: httpx.Client) -> None:
    limited = token(admin, scopes=["deploy"], namespaces=["team-b"])
    spec = {"name": "own", "source": "def own(): return 'b'", "handler": "own", "options": {}}
    with platform.client(limited["token"]) as client:
        assert client.post("/v1/functions", json=spec).status_code == 403
        assert client.post("/v1/functions", json=spec | {"namespace": "team-b"}).status_code == 201
        assert client.post("/n/team-b/f/own", json={}).text == '"b"'
        assert client.post("/f/double", json={"x": 1}).status_code == 403
        assert {item["namespace"] for item in client.get("/v1/functions").json()["functions"]} == {"team-b"}
        assert {key for key in client.get("/openapi.json").json()["paths"] if "/f/" in key} == {"/n/team-b/f/own"}


def test_a_revoked_token_opens_nothing_at_once(platform: PlatformProcess, admin: httpx.Client) -> None:
    doomed = token(admin, scopes=["invoke"])
    with platform.client(doomed["token"]) as client:
        assert client.post("/f/double", json={"x": 2}).status_code == 200
        assert admin.delete(f"/v1/tokens/{doomed['id']}").status_code == 200
        assert client.post("/f/double", json={"x": 2}).status_code == 401
        assert client.get("/v1/functions").status_code == 401
    assert admin.delete(f"/v1/tokens/{doomed['id']}").status_code == 404


def test_tokens_are_listed_and_stored_without_their_text(platform: PlatformProcess, admin: httpx.Client) -> None:
    made = token(admin, scopes=["invoke"])
    assert made["token"] not in admin.get("/v1/tokens").text
    kept = b"".join(path.read_bytes() for path in platform.data_dir.glob("stoker.db*"))
    assert made["token"].encode() not in kept


def test_the_data_directory_is_closed_to_others(platform: PlatformProcess) -> None:
    root = platform.data_dir
    assert not stat.S_IMODE(root.stat().st_mode) & 0o066
    for name in ("connection.json", "stoker.db", "keys/signing.key", "keys/secrets.key"):
        assert not stat.S_IMODE((root / name).stat().st_mode) & 0o077, name


def test_a_secret_reaches_only_the_functions_that_name_it(platform: PlatformProcess, admin: httpx.Client) -> None:
    value = "a-value-that-nobody-else-has"
    assert admin.put("/v1/secrets/API_KEY", json={"value": value}).status_code == 200
    register(admin, "reads", READS_KEY, secrets=["API_KEY"])
    register(admin, "blind", READS_KEY, "reads")
    assert admin.post("/f/reads", json={}).json() == value
    assert admin.post("/f/blind", json={}).json() is None
    listed = admin.get("/v1/secrets")
    assert [item["name"] for item in listed.json()["secrets"]] == ["API_KEY"]
    assert value not in listed.text
    assert value not in admin.get("/v1/functions/reads").text
    assert value not in "".join(platform.said)
    everything = b"".join(path.read_bytes() for path in platform.data_dir.rglob("*") if path.is_file())
    assert value.encode() not in everything


def test_a_function_that_names_a_missing_secret_is_refused(admin: httpx.Client) -> None:
    spec = {"name": "lacks", "source": READS_KEY, "handler": "reads", "options": {"secrets": ["NOWHERE"]}}
    answer = admin.post("/v1/functions", json=spec)
    assert answer.status_code == 422
    assert [item["code"] for item in answer.json()["findings"]] == ["secret_missing"]


def test_no_auth_is_refused_beyond_loopback(tmp_path: Path) -> None:
    process = PlatformProcess(tmp_path)
    done = process.cli("serve", "--no-auth", "--host", "0.0.0.0", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert done.returncode != 0
    assert "loopback" in done.stderr


def test_no_auth_asks_nobody(tmp_path: Path) -> None:
    with platform_process(tmp_path / "data", "--no-auth") as running, httpx.Client(base_url=running.url) as client:
        register(client, "open", "def f(): return 1", "f")
        assert client.post("/f/open", json={}).text == "1"


def test_the_cli_finds_the_first_token_by_itself(platform: PlatformProcess, admin: httpx.Client) -> None:
    done = platform.cli("list", "--json")
    assert done.returncode == 0, done.stderr
    assert "double" in {item["name"] for item in json.loads(done.stdout)["functions"]}

"""The first steps of a stranger with nothing but curl: register a function, call its URL."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from tests.support.platform_process import PlatformProcess, platform_process

SPEC = {
    "name": "double",
    "source": "def double(x): return x * 2",
    "handler": "double",
    "options": {
        "batch": {"max_batch_size": 8},
        "scaling": {"min_replicas": 0, "keep_alive_s": 30},
        "timeout_s": 10,
        "environment": {"python_packages": [], "preload": []},
    },
}

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    with platform_process(tmp_path_factory.mktemp("data")) as running:
        yield running


def curl(platform: PlatformProcess, path: str, *args: str, token: str | None = None) -> tuple[int, str]:
    """Status and body of one curl."""
    header = f"Authorization: Bearer {platform.token if token is None else token}"
    command = ["curl", "-s", "-w", "\n%{http_code}", "-H", header, *args, platform.url + path]
    out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    body, _, status = out.rpartition("\n")
    return int(status), body


def test_a_function_is_registered_and_called(platform: PlatformProcess) -> None:
    status, body = curl(platform, "/v1/functions", "-d", json.dumps(SPEC))
    document = json.loads(body)
    assert status == 201, body
    assert (document["name"], document["namespace"], document["revision"]) == ("double", "default", 1)
    assert document["url"] == f"{platform.url}/f/double"
    assert curl(platform, "/f/double", "-d", '{"x": 21}') == (200, "42")
    assert curl(platform, "/f/double@1", "-d", "21") == (200, "42")
    assert curl(platform, "/f/double@latest", "-d", "21") == (200, "42")


def test_the_same_again_makes_no_revision(platform: PlatformProcess) -> None:
    curl(platform, "/v1/functions", "-d", json.dumps(SPEC))
    status, body = curl(platform, "/v1/functions", "-d", json.dumps(SPEC))
    assert status == 200, body
    assert json.loads(body)["revision"] == 1


def test_a_function_describes_itself(platform: PlatformProcess) -> None:
    curl(platform, "/v1/functions", "-d", json.dumps(SPEC))
    curl(platform, "/f/double", "-d", '{"x": 1}')
    status, body = curl(platform, "/v1/functions/double")
    document = json.loads(body)
    assert status == 200
    assert {"revisions", "aliases", "replicas", "stats", "schema", "scaling", "breaker"} <= document.keys()
    assert [set(replica) >= {"state", "revision", "device", "pid", "memory_bytes"} for replica in document["replicas"]]
    assert document["aliases"]["latest"] == {"1": 1}
    assert document["stats"]["calls"] >= 1


def test_a_batched_function_takes_one_item_per_call(platform: PlatformProcess) -> None:
    spec = SPEC | {
        "name": "batched",
        "source": "def double(x): return [value * 2 for value in x]",
        "options": {"batch": {"max_batch_size": 8}, "scaling": {"min_replicas": 0, "keep_alive_s": 30}},
    }
    status, body = curl(platform, "/v1/functions", "-d", json.dumps(spec))
    assert status == 201, body
    assert curl(platform, "/f/batched", "-d", '{"x": 21}') == (200, "42")


def test_a_wrong_token_opens_nothing(platform: PlatformProcess) -> None:
    status, body = curl(platform, "/v1/functions", "-d", json.dumps(SPEC), token="wrong")
    assert status == 401
    assert json.loads(body)["code"] == "unauthorized"
    assert curl(platform, "/f/double", "-d", "1", token="wrong")[0] == 401


def test_health_needs_no_token(platform: PlatformProcess) -> None:
    assert curl(platform, "/healthz", token="")[0] == 200
    assert curl(platform, "/", token="")[0] == 200  # where KServe's v1 client asks
    assert curl(platform, "/readyz", token="")[0] == 200


def test_an_unknown_option_is_refused_by_name(platform: PlatformProcess) -> None:
    spec = SPEC | {"options": {"scalling": {}}}
    status, body = curl(platform, "/v1/functions", "-d", json.dumps(spec))
    document = json.loads(body)
    assert status == 422
    assert "scalling" in document["detail"]
    assert "scaling" in document["hint"]

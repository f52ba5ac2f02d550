"""New revisions, aliases and splits under traffic."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from tests.support.platform_process import PlatformProcess, platform_process, register

WARM = {"scaling": {"min_replicas": 0, "keep_alive_s": 60}}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    with platform_process(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def client(platform: PlatformProcess) -> Iterator[httpx.Client]:
    with platform.client() as found:
        yield found


def version(number: int) -> str:
    return f"def handler(x=None): return {number}"


def three_revisions(client: httpx.Client, name: str) -> None:
    for number in (1, 2, 3):
        assert register(client, name, version(number), "handler", **WARM)["revision"] == number


def test_a_redeploy_under_load_answers_every_call(platform: PlatformProcess, client: httpx.Client) -> None:
    register(client, "rolling", version(1), "handler", **WARM)
    stop = threading.Event()
    seen: Counter[tuple[int, str]] = Counter()

    def call_on() -> None:
        with platform.client() as own:
            while not stop.is_set():
                answer = own.post("/f/rolling", json={})
                seen[answer.status_code, answer.text] += 1

    callers = [threading.Thread(target=call_on) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        for number in (2, 3, 4):
            register(client, "rolling", version(number), "handler", **WARM)
            assert client.post("/f/rolling", json={}).text == str(number)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert {status for status, _ in seen} == {200}, seen
    assert {body for _, body in seen} <= {"1", "2", "3", "4"}


def test_a_rollback_goes_back_step_by_step(client: httpx.Client) -> None:
    three_revisions(client, "undone")
    assert client.post("/v1/functions/undone/rollback", json={}).json()["revision"] == 2
    assert client.post("/f/undone", json={}).text == "2"
    assert client.post("/v1/functions/undone/rollback", json={}).json()["revision"] == 1
    assert client.post("/f/undone", json={}).text == "1"
    assert client.post("/v1/functions/undone/rollback", json={}).status_code == 409
    assert register(client, "undone", version(3), "handler", **WARM)["revision"] == 3
    assert client.post("/f/undone", json={}).text == "3"


def test_a_promoted_revision_stays_while_latest_moves_on(client: httpx.Client) -> None:
    register(client, "promoted", version(1), "handler", **WARM)
    assert client.post("/v1/functions/promoted/promote", json={}).json()["weights"] == {"1": 1}
    register(client, "promoted", version(2), "handler", **WARM)
    assert client.post("/f/promoted@prod", json={}).text == "1"
    assert client.post("/f/promoted", json={}).text == "2"
    assert client.post("/v1/functions/promoted/promote", json={"revision": 2}).status_code == 200
    assert client.post("/f/promoted@prod", json={}).text == "2"


def test_a_split_follows_its_weights_and_sticks_to_a_session(client: httpx.Client) -> None:
    three_revisions(client, "split")
    put = client.put("/v1/functions/split/aliases/prod", json={"weights": {"2": 75, "3": 25}})
    assert put.json()["weights"] == {"2": 75, "3": 25}
    seen = Counter(client.post("/f/split@prod", json={}).text for _ in range(40))
    assert seen.keys() == {"2", "3"}
    assert abs(seen["2"] - 30) <= 2
    for session in ("a", "b", "c", "d"):
        headers = {"Stoker-Session": session}
        assert len({client.post("/f/split@prod", json={}, headers=headers).text for _ in range(5)}) == 1


def test_a_revision_that_nobody_points_to_still_answers_by_its_number(client: httpx.Client) -> None:
    three_revisions(client, "numbered")
    assert [client.post(f"/f/numbered@{number}", json={}).text for number in (1, 2, 3, 1)] == ["1", "2", "3", "1"]
    assert client.post("/f/numbered@9", json={}).status_code == 404
    assert client.post("/f/numbered@none", json={}).status_code == 404


def test_what_is_in_use_is_not_deleted_unless_forced(client: httpx.Client) -> None:
    three_revisions(client, "guarded")
    client.put("/v1/functions/guarded/aliases/prod", json={"revision": 2})
    assert client.delete("/v1/functions/guarded/revisions/2").status_code == 409
    assert client.delete("/v1/functions/guarded").status_code == 409
    assert client.delete("/v1/functions/guarded/revisions/1").status_code == 200
    assert client.post("/f/guarded@1", json={}).status_code == 404
    assert client.delete("/v1/functions/guarded/revisions/2?force=true").status_code == 200
    assert client.post("/f/guarded@prod", json={}).status_code == 404
    assert client.delete("/v1/functions/guarded").status_code == 200
    assert client.post("/f/guarded", json={}).status_code == 404


def test_numbers_go_on_after_a_deletion(client: httpx.Client) -> None:
    register(client, "reborn", version(1), "handler", **WARM)
    client.delete("/v1/functions/reborn")
    assert register(client, "reborn", version(5), "handler", **WARM)["revision"] == 2
    assert client.post("/f/reborn", json={}).text == "5"


def test_scaling_changes_without_a_revision_and_survives_a_redeploy(client: httpx.Client) -> None:
    register(client, "scaled", version(1), "handler", **WARM)
    assert client.put("/v1/functions/scaled/scaling", json={"max_replicas": 2}).json()["max_replicas"] == 2
    register(client, "scaled", version(2), "handler", **WARM)
    scaling = client.get("/v1/functions/scaled").json()["scaling"]
    assert (scaling["max_replicas"], scaling["keep_alive_s"]) == (2, 60)
    assert client.put("/v1/functions/scaled/scaling", json={"max_replicas": 0}).status_code == 422
    assert client.delete("/v1/functions/scaled/scaling").json()["max_replicas"] == 4


def test_a_namespace_is_a_world_of_its_own(client: httpx.Client) -> None:
    spec = {"name": "same", "handler": "handler", "options": {}}
    first = client.post("/v1/functions", json={**spec, "source": version(1)})
    second = client.post("/v1/functions", json={**spec, "source": version(2), "namespace": "team-a"})
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json()["url"].endswith("/n/team-a/f/same")
    assert client.post("/f/same", json={}).text == "1"
    assert client.post("/n/team-a/f/same", json={}).text == "2"
    names = {item["namespace"] for item in client.get("/v1/functions").json()["functions"] if item["name"] == "same"}
    assert names == {"default", "team-a"}


def test_a_new_revision_takes_over_warm_where_there_is_room(client: httpx.Client) -> None:
    source = "import time\nclass Model:\n def __init__(self): time.sleep(0.2)\n def __call__(self): return {}"
    register(client, "handover", source.format(1), "Model", **WARM)
    client.post("/f/handover", json={})
    register(client, "handover", source.format(2), "Model", **WARM)
    answer = client.post("/f/handover?receipt=1", json={}).json()
    assert answer["result"] == 2
    assert answer["receipt"]["cold"] is False

"""Jobs from outside: HTTP, server-sent events, a WebSocket, the SDK and the command line, over a real platform."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websockets.sync.client
from tests.support.bounded_wait import wait_until
from tests.support.cli_runs import Shell
from tests.support.running_platform import RunningPlatform, running_platform
from websockets.exceptions import InvalidStatus

import stoker
from stoker.errors import Conflict, DeadlineExceeded
from stoker.job import AsyncJob

ASYNC = {"Prefer": "respond-async"}
LIMIT_S = 30.0
SOURCE = """
import time
import stoker

def work(x, seconds=0.0, pages=0):
    if x == "bad":
        raise ValueError("no such page")
    for page in range(pages):
        print("page", page)
        stoker.progress((page + 1) / pages, f"page {page + 1} of {pages}")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)
    return {"x": x}
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with running_platform(Path(tmp_path_factory.mktemp("jobs"), "data"), {"jobs_inline_bytes": 1000}) as found:
        found.deploy("work", SOURCE, idempotent=True, scaling={"max_replicas": 2})
        yield found


@pytest.fixture
def client(platform: RunningPlatform) -> Iterator[httpx.Client]:
    with platform.client() as found:
        yield found


@pytest.fixture
def connected(platform: RunningPlatform, monkeypatch: pytest.MonkeyPatch) -> stoker.Function:
    monkeypatch.setenv("STOKER_URL", platform.url)
    monkeypatch.setenv("STOKER_TOKEN", platform.token)
    return stoker.Function.from_name("work")


def job_of(client: httpx.Client, **inputs: object) -> dict[str, object]:
    answer = client.post("/f/work", json=inputs, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["url"]
    return dict(answer.json())


def test_a_job_is_answered_at_once_and_its_result_later(client: httpx.Client) -> None:
    job = job_of(client, x=1)
    result = client.get(f"{job['url']}/result", params={"wait": LIMIT_S})
    assert (result.status_code, result.json()) == (200, {"x": 1})
    shown = client.get(str(job["url"])).json()
    assert shown["state"] == "succeeded"
    assert shown["receipt"]["phases_ms"]["total"] > 0
    assert client.get(f"{job['url']}/input").json() == {"x": 1}


def test_a_result_that_comes_in_time_is_the_answer_and_a_late_one_is_a_job(client: httpx.Client) -> None:
    quick = client.post("/f/work", json={"x": 1}, headers={"Prefer": "wait=20, respond-async"})
    assert (quick.status_code, quick.json()) == (200, {"x": 1})
    slow = client.post("/f/work", json={"x": 2, "seconds": 1.0}, headers={"Prefer": "wait=0.2, respond-async"})
    assert slow.status_code == 202
    assert client.get(f"{slow.json()['url']}/result", params={"wait": LIMIT_S}).json() == {"x": 2}
    ids = {quick.headers["stoker-job"], slow.json()["id"]}
    listed = client.get("/v1/jobs", params={"function": "work"}).json()["jobs"]
    assert [job["attempts"] for job in listed if job["id"] in ids] == [1, 1], "nothing ran twice"


def test_large_inputs_and_results_are_kept_whole(client: httpx.Client) -> None:
    text = "long " * 10_000
    job = job_of(client, x=text)
    assert client.get(f"{job['url']}/result", params={"wait": LIMIT_S}).json() == {"x": text}
    assert client.get(f"{job['url']}/input").json() == {"x": text}


def test_a_failure_is_a_problem_a_dead_letter_and_can_be_mended(client: httpx.Client) -> None:
    job = job_of(client, x="bad")
    failed = client.get(f"{job['url']}/result", params={"wait": LIMIT_S})
    assert failed.status_code == 500
    assert failed.json()["error_type"] == "builtins.ValueError"
    dead = client.get("/v1/jobs", params={"state": "dead"}).json()["jobs"]
    assert job["id"] in [found["id"] for found in dead]
    assert client.post(f"{job['url']}/retry", json={"input": {"x": "good"}}).status_code == 202
    assert client.get(f"{job['url']}/result", params={"wait": LIMIT_S}).json() == {"x": "good"}
    assert client.post(f"{job['url']}/retry", json={}).status_code == 409


def test_a_repeated_submit_is_one_job(client: httpx.Client) -> None:
    keyed = ASYNC | {"Idempotency-Key": "order-17"}
    first, again = (client.post("/f/work", json={"x": 1}, headers=keyed) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert client.post("/f/work", json={"x": 2}, headers=keyed).status_code == 409
    document = {"function": "work", "kwargs": {"x": 1}}
    put, put_again = (client.put("/v1/jobs/order-18", json=document) for _ in range(2))
    assert put.json()["id"] == put_again.json()["id"] == "order-18"
    assert client.put("/v1/jobs/order-18", json={"function": "work", "kwargs": {"x": 2}}).status_code == 409


@pytest.mark.parametrize("seconds", [pytest.param(20.0, id="running"), pytest.param(0.0, id="waiting")])
def test_a_job_can_be_canceled(client: httpx.Client, seconds: float) -> None:
    document = {"function": "work", "input": {"x": 1, "seconds": seconds}, "delay_s": 0 if seconds else 3600}
    job = client.post("/v1/jobs", json=document).json()
    if seconds:
        wait_until(lambda: client.get(job["url"]).json()["state"] == "running", LIMIT_S, "the run")
    canceled = client.delete(job["url"])
    assert (canceled.status_code, canceled.json()["state"]) == (200, "canceled")
    assert client.delete(job["url"]).status_code == 409
    assert client.get(f"{job['url']}/result").status_code == 499
    assert client.get(job["url"]).json()["state"] == "canceled"


def test_a_canceled_run_gives_its_replica_back_at_once(platform: RunningPlatform, client: httpx.Client) -> None:
    platform.deploy("single", SOURCE.replace("def work", "def single"), scaling={"max_replicas": 1})
    for _ in range(3):
        body = {"function": "single", "input": {"x": 1, "seconds": 600, "pages": 1}}
        job = client.post("/v1/jobs", json=body).json()
        wait_until(lambda url=job["url"]: client.get(url).json()["progress"] is not None, LIMIT_S, "the run")  # type: ignore[misc]
        assert client.delete(job["url"]).status_code == 200
        assert client.post("/f/single", json={"x": 2}, headers={"Stoker-Timeout-Ms": "20000"}).json() == {"x": 2}
    replicas = client.get("/v1/functions/single").json()["replicas"]
    assert len(replicas) == 1, "the same worker served all of it"


def test_events_tell_progress_and_lines_and_are_replayed_from_any(client: httpx.Client) -> None:
    job = job_of(client, x=1, pages=3)
    client.get(f"{job['url']}/result", params={"wait": LIMIT_S})
    text = client.get(f"{job['url']}/events").text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert [event["state"] for event in events if event["kind"] == "state"][-1] == "succeeded"
    assert [event["line"] for event in events if event["kind"] == "log"] == ["page 0", "page 1", "page 2"]
    assert {event["message"] for event in events if event["kind"] == "progress"} >= {"page 3 of 3"}
    rest = client.get(f"{job['url']}/events", headers={"Last-Event-ID": "4"}).text
    assert "id: 4\n" not in rest
    assert "id: 5\n" in rest


def test_a_websocket_gets_the_same_events_and_wants_a_token(platform: RunningPlatform, client: httpx.Client) -> None:
    job = job_of(client, x=1, seconds=0.3, pages=2)
    address = f"ws{platform.url[4:]}{job['url']}/events"
    access = {"Authorization": f"Bearer {platform.token}"}
    with websockets.sync.client.connect(address, additional_headers=access, open_timeout=LIMIT_S) as socket:
        events = [json.loads(message) for message in socket]
    assert events[-1]["state"] == "succeeded"
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    for refused in (address, address.replace(str(job["id"]), "job_none")):
        headers = {} if refused == address else access
        with pytest.raises(InvalidStatus), websockets.sync.client.connect(refused, additional_headers=headers):
            pass


def test_a_token_sees_the_jobs_of_its_namespaces_alone(platform: RunningPlatform, client: httpx.Client) -> None:
    job = job_of(client, x=1)
    made = client.post("/v1/tokens", json={"name": "other", "scopes": ["invoke"], "namespaces": ["other"]}).json()
    with httpx.Client(base_url=platform.url, headers={"Authorization": f"Bearer {made['token']}"}) as stranger:
        assert stranger.get("/v1/jobs").json()["jobs"] == []
        assert stranger.get(str(job["url"])).status_code == 404
        assert stranger.delete(str(job["url"])).status_code == 404
        assert stranger.get("/v1/jobs", params={"namespace": "default"}).status_code == 403
        assert stranger.post("/v1/jobs", json={"function": "work"}).status_code == 403


def test_the_sdk_spawns_follows_and_fetches(connected: stoker.Function) -> None:
    job = connected.spawn(1, pages=2)
    assert job.result(timeout=LIMIT_S) == {"x": 1}
    assert job.status() == "succeeded"
    assert [event["kind"] for event in job.events()].count("log") == 2
    assert stoker.Job.from_id(job.id).result() == {"x": 1}
    with pytest.raises(ValueError, match="no such page"):
        connected.spawn("bad").result(timeout=LIMIT_S)
    slow = connected.spawn(1, seconds=20.0)
    with pytest.raises(DeadlineExceeded, match="goes on"):
        slow.result(timeout=0.1)
    assert slow.cancel()["state"] == "canceled"
    with pytest.raises(Conflict):
        slow.cancel()


def test_the_sdk_does_so_for_asyncio(connected: stoker.Function) -> None:
    async def scenario() -> list[str]:
        job = await connected.spawn_async(1)
        assert isinstance(job, AsyncJob)
        assert await job.result(timeout=LIMIT_S) == {"x": 1}
        return [str(event.get("state")) async for event in job.events() if event["kind"] == "state"]

    assert asyncio.run(scenario())[-1] == "succeeded"


def test_the_command_line_does_all_of_it(
    platform: RunningPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(platform.url, tmp_path)
    monkeypatch.setattr(shell, "_env", {"STOKER_URL": platform.url, "STOKER_TOKEN": platform.token})
    job_id = shell("call", "work", "x=1", "--async").stdout.strip()
    assert json.loads(shell("jobs", "result", job_id).stdout) == {"x": 1}
    assert job_id in shell("jobs", "list", "work").stdout
    assert "succeeded" in shell("jobs", "show", job_id).stdout
    assert "succeeded" in shell("jobs", "events", job_id).stdout
    failed = shell("call", "work", "x=bad", "--async").stdout.strip()
    shell("jobs", "result", failed, code=1)
    assert failed in shell("jobs", "list", "--state", "dead").stdout
    assert "queued" in shell("jobs", "retry", failed, "x=mended").stdout
    assert json.loads(shell("jobs", "result", failed).stdout) == {"x": "mended"}
    slow = shell("call", "work", "x=1", "seconds=20", "--async").stdout.strip()
    shell("jobs", "result", slow, "--wait-s", "0.1", code=6)
    assert "canceled" in shell("jobs", "cancel", slow).stdout
    shell("jobs", "cancel", slow, code=7)
    assert "forgotten" in shell("jobs", "purge", "--state", "canceled", "-y").stdout


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("POST", "/v1/jobs", {"function": "none"}, 404, id="no-function"),
        pytest.param("POST", "/v1/jobs", {"function": "work", "ref": "none"}, 404, id="no-alias"),
        pytest.param("POST", "/v1/jobs", {}, 422, id="no-function-named"),
        pytest.param("POST", "/v1/jobs", {"function": "work", "what": 1}, 422, id="unknown-field"),
        pytest.param("POST", "/v1/jobs", {"function": "work", "max_age_s": -1}, 422, id="age"),
        pytest.param("PUT", "/v1/jobs/-a", {"function": "work"}, 400, id="id"),
        pytest.param("GET", "/v1/jobs/job_none", None, 404, id="no-job"),
        pytest.param("GET", "/v1/jobs?state=done", None, 400, id="state"),
        pytest.param("GET", "/v1/jobs?cursor=zzz", None, 400, id="cursor"),
        pytest.param("GET", "/v1/jobs?limit=0", None, 422, id="limit"),
        pytest.param("GET", "/v1/jobs?since=yesterday", None, 400, id="since"),
        pytest.param("DELETE", "/v1/jobs/job_none", None, 404, id="cancel-none"),
        pytest.param("POST", "/v1/jobs/job_none/retry", {}, 404, id="retry-none"),
    ],
)
def test_what_is_wrong_is_told(client: httpx.Client, method: str, path: str, body: object, status: int) -> None:
    answer = client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["hint"] or answer.json().get("errors")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Prefer": "respond-async, wait=forever"}, id="wait"),
        pytest.param({"Prefer": "respond-async", "Idempotency-Key": "a b"}, id="key"),
        pytest.param({"Prefer": "respond-async", "Stoker-Priority": "first"}, id="priority"),
    ],
)
def test_headers_that_cannot_be_read_are_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    assert client.post("/f/work", json={"x": 1}, headers=headers).status_code == 400

"""`kill -9` of the platform, again and again, while 500 jobs run: each ends once, with its own answer."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.support.bounded_wait import wait_until
from tests.support.running_platform import RunningPlatform

JOBS = 500
KILLS = 4
LIMIT_S = 90.0
SQUARE = """
import time
import stoker

def square(n):
    stoker.progress(0.5, f"half of {n}")
    time.sleep(0.02)
    return n * n
"""


def ended(client: httpx.Client) -> int:
    """Jobs that have ended so far."""
    states = "succeeded,failed,canceled,timed_out,expired"
    return len(client.get("/v1/jobs", params={"state": states, "limit": 1000}).json()["jobs"])


def until_ended(client: httpx.Client, count: int) -> None:
    """Wait for so many."""
    wait_until(lambda: ended(client) >= count, LIMIT_S, f"{count} jobs")


def submit(client: httpx.Client, number: int) -> str:
    """A job under an id of its own, so that it may be submitted twice."""
    document = {"function": "square", "input": {"n": number}}
    answer = client.put(f"/v1/jobs/square-{number}", json=document)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_jobs_survive_kills_at_random(tmp_path: Path) -> None:
    chance = random.Random(20260101)
    platform = RunningPlatform(tmp_path / "data")
    platform.start()
    try:
        platform.deploy("square", SQUARE, idempotent=True, scaling={"max_replicas": 2})
        with platform.client() as client:
            with ThreadPoolExecutor(8) as pool:
                ids = list(pool.map(lambda number: submit(client, number), range(JOBS)))
        for kill in range(KILLS):
            with platform.client() as client:
                wanted = min(ended(client) + chance.randrange(10, 80), JOBS - 20 * (KILLS - kill))
                until_ended(client, wanted)
            platform.kill()
            platform.start()
        with platform.client() as client:
            assert [submit(client, number) for number in range(0, JOBS, 50)] == ids[::50]
            until_ended(client, JOBS)
            answers = [client.get(f"/v1/jobs/{job_id}/result") for job_id in ids]
            assert [answer.json() for answer in answers] == [number * number for number in range(JOBS)]
            for job_id in ids[::25]:
                events = client.get(f"/v1/jobs/{job_id}/events", params={"follow": False}).text
                assert events.count('"state":"succeeded"') == 1
    finally:
        platform.stop()


def test_a_job_that_must_not_run_twice_is_a_dead_letter_after_a_kill(tmp_path: Path) -> None:
    source = """
import time
import stoker

def once(n):
    print("it runs")
    stoker.progress(0.1, "begun")
    time.sleep(60 if n else 0)
    return n
"""
    platform = RunningPlatform(tmp_path / "data")
    platform.start()
    try:
        platform.deploy("once", source)
        with platform.client() as client:
            job = client.post("/f/once", json={"n": 1}, headers={"Prefer": "respond-async"}).json()
            wait_until(lambda: client.get(job["url"]).json()["progress"] is not None, LIMIT_S, "the run")
        platform.kill()
        platform.start()
        with platform.client() as client:
            dead = client.get("/v1/jobs", params={"state": "dead"}).json()["jobs"]
            assert [found["id"] for found in dead] == [job["id"]]
            assert dead[0]["problem"]["code"] == "worker_lost"
            assert "idempotent=True" in dead[0]["problem"]["hint"]
            assert client.get("/v1/functions/once/logs").text.count("it runs") == 1
            again = client.post(f"{job['url']}/retry", json={"input": {"n": 0}})
            assert again.status_code == 202, again.text
            answer = client.get(f"{job['url']}/result", params={"wait": 30})
            assert (answer.status_code, answer.json()) == (200, 0)
    finally:
        platform.stop()


def test_a_stop_puts_back_what_waits_and_the_next_start_runs_it(tmp_path: Path) -> None:
    platform = RunningPlatform(tmp_path / "data")
    platform.start()
    try:
        platform.deploy("square", SQUARE, idempotent=True)
        with platform.client() as client:
            for number in range(50):
                client.put(f"/v1/jobs/j{number}", json={"function": "square", "input": {"n": number}})
            client.post("/f/square", json={"n": 1}, headers={"Prefer": "wait=5, respond-async"})
        platform.stop()
        platform.start()
        with platform.client() as client:
            for number in range(50):
                answer = client.get(f"/v1/jobs/j{number}/result", params={"wait": 30})
                assert (answer.status_code, answer.json()) == (200, number * number)
    finally:
        platform.stop()

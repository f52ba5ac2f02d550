"""Calls that find a replica which was started ahead of them, on a real platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from tests.support.platform_process import platform_in_process, source_spec

LOADS = """
class Model:
    def __init__(self):
        self.factor = 3
    def __call__(self, x):
        return x * self.factor
"""
MINUTES = 180


async def deploy(client: httpx.AsyncClient, name: str, **scaling: object) -> None:
    answer = await client.post("/v1/functions", json=source_spec(name, LOADS, "Model", scaling=scaling))
    assert answer.status_code == 201, answer.text


async def until_ready(client: httpx.AsyncClient, name: str) -> None:
    """Ask until the function has a ready replica."""
    for _ in range(20_000):
        if (await client.get(f"/v1/functions/{name}")).json()["state"] == "ready":
            return
    raise AssertionError(f"{name} gets no replica")


async def receipt_of(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    answer = await client.post(f"/f/{name}?receipt=1", json={"x": 2})
    assert answer.json()["result"] == 6
    found: dict[str, Any] = answer.json()["receipt"]
    return found


async def test_a_function_with_a_regular_period_is_ready_before_its_next_call(tmp_path: Path) -> None:
    async with platform_in_process(tmp_path / "data") as (started, client):
        warmth = started.platform.pool.warmth
        now_s = warmth.now_s()
        for minute in range(MINUTES):  # called each minute, and the next call is due
            warmth.forecast.note_calls("default/steady", now_s - 58.0 - 60.0 * (MINUTES - 1 - minute))
        await deploy(client, "steady", keep_alive_s="adaptive", warmth="eager")
        await until_ready(client, "steady")
        first, second = await receipt_of(client, "steady"), await receipt_of(client, "steady")
        assert (first["cold"], first["prewarmed"], first["phases_ms"]["cold"]) == (False, True, 0)
        assert second["prewarmed"] is False
        forecast = (await client.get("/v1/functions/steady/forecast")).json()
        assert forecast["adaptive"] is True
        assert forecast["prewarms"]["used"] == 1
        assert forecast["cold_starts"] == []
        metrics = (await client.get("/metrics")).text
        assert 'stoker_prewarms_total{function="steady",namespace="default",outcome="used"} 1.0' in metrics


async def test_an_expected_call_finds_a_replica_and_describe_says_on_whose_word(tmp_path: Path) -> None:
    async with platform_in_process(tmp_path / "data") as (started, client):
        await deploy(client, "nightly", keep_alive_s=0)
        pool = started.platform.pool
        pool.expect("default", "nightly", pool.warmth.now_s() + 1.0, source="schedule nightly")
        await until_ready(client, "nightly")
        described = (await client.get("/v1/functions/nightly")).json()["forecast"]
        assert [window["source"] for window in described["windows"]] == ["schedule nightly"]
        assert (await receipt_of(client, "nightly"))["prewarmed"] is True


async def test_named_hours_are_kept_over_a_restart(tmp_path: Path) -> None:
    async with platform_in_process(tmp_path / "data") as (_, client):
        await deploy(client, "office", keep_alive_s=0)
        answer = await client.put("/v1/functions/office/scaling", json={"warm": ["00:00-24:00 Asia/Kolkata"]})
        assert answer.json()["warm"] == ["00:00-24:00 Asia/Kolkata"]
        refused = await client.put("/v1/functions/office/scaling", json={"warm": ["at night"]})
        assert refused.status_code == 422, refused.text
        assert "names no hours" in refused.json()["detail"]
        await until_ready(client, "office")
    async with platform_in_process(tmp_path / "data") as (_, client):
        await until_ready(client, "office")
        why = (await client.get("/v1/functions/office/forecast")).json()["why_warm"]
        assert why == ["warm hours 00:00-24:00 Asia/Kolkata"]

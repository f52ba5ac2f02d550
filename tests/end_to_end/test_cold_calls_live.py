"""Cold calls and their receipts, scale to zero and back, on a real platform."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from tests.support.platform_process import platform_in_process, platform_process, register, source_spec

PARTS = ("queue", "cold", "batch", "decode", "execute", "encode")
COLD_PARTS = ("place", "zygote", "fork", "verify", "unpickle", "enter", "warmup")
LOADS = """
class Model:
    def __init__(self):
        self.factor = 3
    def __call__(self, x):
        return x * self.factor
"""


def receipt_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["receipt"]
    return found


def test_receipts_sum_to_the_wall_time(tmp_path: Path) -> None:
    with platform_process(tmp_path / "data") as platform, platform.client() as client:
        register(client, "model", LOADS, "Model", scaling={"keep_alive_s": 60})
        cold = receipt_of(client.post("/f/model?receipt=1", json={"x": 2}))
        warm = receipt_of(client.post("/f/model", json={"x": 2}, headers={"Stoker-Receipt": "1"}))
    assert (cold["cold"], warm["cold"]) == (True, False)
    for receipt in (cold, warm):
        phases = receipt["phases_ms"]
        assert abs(sum(phases[part] for part in PARTS) - phases["total"]) <= 0.01 * phases["total"]
    assert abs(sum(cold["phases_ms"].get(part, 0.0) for part in COLD_PARTS) - cold["phases_ms"]["cold"]) <= (
        0.01 * cold["phases_ms"]["total"]
    )
    assert warm["phases_ms"]["cold"] == 0


def test_many_callers_of_a_cold_function_cause_one_start(tmp_path: Path) -> None:
    with platform_process(tmp_path / "data") as platform, platform.client() as client:
        register(client, "single", LOADS, "Model", scaling={"max_replicas": 1, "keep_alive_s": 60})
        with ThreadPoolExecutor(16) as callers:
            answers = list(callers.map(lambda x: client.post("/f/single", json={"x": x}), range(32)))
        assert [answer.text for answer in answers] == [str(x * 3) for x in range(32)]
        assert client.get("/v1/functions/single").json()["stats"]["cold_starts"] == 1


async def test_an_idle_function_goes_to_zero_and_comes_back(tmp_path: Path) -> None:
    async with platform_in_process(tmp_path / "data") as (_, client):
        spec = source_spec("brief", LOADS, "Model", scaling={"min_replicas": 0, "keep_alive_s": 0})
        assert (await client.post("/v1/functions", json=spec)).status_code == 201
        for x in (1, 2):
            answer = await client.post("/f/brief?receipt=1", json={"x": x})
            assert receipt_of(answer)["cold"] is True
            await until_gone(client, "brief")
        described = (await client.get("/v1/functions/brief")).json()
        assert described["replicas"] == []
        assert described["stats"]["cold_starts"] == 2


async def test_a_warmed_function_waits_for_nothing(tmp_path: Path) -> None:
    async with platform_in_process(tmp_path / "data") as (_, client):
        await client.post("/v1/functions", json=source_spec("ready", LOADS, "Model", scaling={"keep_alive_s": 60}))
        warmed = await client.post("/v1/functions/ready/warmup", json={})
        assert (warmed.status_code, warmed.json()["replicas"]) == (200, 1)
        phases_ms = warmed.json()["phases_ms"]
        assert {"place", "fork", "verify", "unpickle", "enter"} <= set(phases_ms)
        assert sum(phases_ms.values()) <= warmed.json()["took_ms"]
        again = await client.post("/v1/functions/ready/warmup", json={})
        assert again.json()["phases_ms"] == {}
        assert receipt_of(await client.post("/f/ready?receipt=1", json={"x": 1}))["cold"] is False


async def until_gone(client: httpx.AsyncClient, name: str) -> None:
    """Ask until the function has no replica."""
    for _ in range(20_000):
        if not (await client.get(f"/v1/functions/{name}")).json()["replicas"]:
            return
    raise AssertionError(f"{name} keeps its replicas")

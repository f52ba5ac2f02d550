"""``/v1/history``: recorded traffic, of what the token covers, in the form that ``stoker simulate`` reads."""

from __future__ import annotations

import io
from pathlib import Path

from tests.support.platform_process import platform_in_process

from stoker_pool.simulation.trace_files import read_csv


async def test_what_was_recorded_comes_as_a_trace(tmp_path: Path) -> None:
    async with platform_in_process(tmp_path) as (started, client):
        platform = started.platform
        now_s = platform.clock.now().timestamp()
        platform.call_log.note("default/a", now_s - 7200, 3, 0.5)
        platform.call_log.note("team/b", now_s - 60, 1, 0.0)
        answer = await client.get("/v1/history")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        trace = read_csv(io.StringIO(answer.text), "history")
        assert (trace.functions, trace.calls) == (("default/a", "team/b"), 4)

        lately = await client.get("/v1/history", params={"last_s": 3600})
        assert read_csv(io.StringIO(lately.text), "history").functions == ("team/b",)

        made = await client.post("/v1/tokens", json={"name": "t", "scopes": ["invoke"], "namespaces": ["default"]})
        headers = {"authorization": f"Bearer {made.json()['token']}"}
        own = await client.get("/v1/history", headers=headers)
        assert read_csv(io.StringIO(own.text), "history").functions == ("default/a",)


async def test_nothing_recorded_is_an_empty_trace_and_nonsense_is_refused(tmp_path: Path) -> None:
    async with platform_in_process(tmp_path) as (_, client):
        assert (await client.get("/v1/history")).text.splitlines()[2:] == ["function,t,n,d"]
        for value in ("-1", "0", "nan", "soon"):
            assert (await client.get("/v1/history", params={"last_s": value})).status_code == 422

"""What metrics say of ticks: each run once, whatever its transaction went through."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from tests.platform_api.schedules.test_schedule_steps import HOUR_S, Rig, rig

from stoker.schedule import Every
from stoker_api.schedules.records import Counted, Ended, RunState
from stoker_api.schedules.tallies import ScheduleTallies

_FUNCTION = 'function="f",namespace="default"'


def lines_of(tallies: ScheduleTallies) -> list[str]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(tallies)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def ticks_of(at: Rig, outcome: str) -> list[str]:
    start = f'stoker_schedule_ticks_total{{{_FUNCTION},outcome="{outcome}"}} '
    return [line.removeprefix(start) for line in lines_of(at.scheduler.tallies) if line.startswith(start)]


async def test_ticks_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        await at.make(Every(hours=1, misfire_grace_s=60))
        await at.forward(HOUR_S)  # starts
        await at.forward(2 * HOUR_S)  # one that was missed, and one that finds the first still running
        ((job_id, _),) = await at.jobs()
        await at.end(job_id, "failed")
        lines = lines_of(at.scheduler.tallies)
        assert ticks_of(at, "started") == ["1.0"]
        assert ticks_of(at, "skipped") == ["1.0"]
        assert ticks_of(at, "missed") == ["1.0"]
    assert f'stoker_schedule_runs_ended_total{{{_FUNCTION},state="failed"}} 1.0' in lines
    assert 'stoker_schedules{namespace="default",state="active"} 1.0' in lines


async def test_a_run_that_waited_counts_as_started_when_it_begins_with_its_lateness(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        await at.make(Every(hours=1, overlap="queue"))
        await at.forward(HOUR_S)
        await at.forward(HOUR_S)
        assert ticks_of(at, "started") == ["1.0"]
        at.clock.advance(120.0)
        await at.end((await at.jobs())[0][0])
        assert ticks_of(at, "started") == ["2.0"]
        lines = lines_of(at.scheduler.tallies)
    assert f"stoker_schedule_lateness_seconds_sum{{{_FUNCTION}}} 120.0" in lines
    assert 'stoker_schedule_lateness_seconds_bucket{function="f",le="0.01",namespace="default"} 1.0' in lines
    assert 'stoker_schedule_lateness_seconds_bucket{function="f",le="300",namespace="default"} 2.0' in lines


async def test_runs_by_hand_are_no_ticks(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at:
        record = await at.make(Every(hours=1))
        await at.schedules.run_now(record)
        await at.end((await at.jobs())[0][0])
        assert ticks_of(at, "started") == []
        lines = lines_of(at.scheduler.tallies)
    assert f'stoker_schedule_runs_ended_total{{{_FUNCTION},state="succeeded"}} 1.0' in lines


def test_an_end_that_is_heard_of_twice_counts_once() -> None:
    tallies = ScheduleTallies(tuple)
    counted = Counted(namespace="default", function="f", ended=RunState.SUCCEEDED)
    for _ in range(2):  # its transaction was undone with others, and run again
        tallies.note_end(Ended(schedule_id="sched_1", run_id="run_1", counted=counted))
    assert f'stoker_schedule_runs_ended_total{{{_FUNCTION},state="succeeded"}} 1.0' in lines_of(tallies)

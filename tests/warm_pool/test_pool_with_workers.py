"""The warm pool with real worker processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.pool_rig import LIMIT_S, Bundles, call, error_of, real_pool, result_of, submit, until_gone

from stoker.errors import CrashLooping, NoCapacity, StartFailed, WorkerLost
from stoker.options import Scaling
from stoker_pool.devices import MIB
from stoker_runtime.invocation import Invocation

KEEP = {"keep_alive_s": 600}
BROKEN = """
import os

print("about to read the weights", flush=True)
if not os.path.exists({path!r}):
    raise RuntimeError("no weights here")

def broken(x):
    return x
"""


@pytest.fixture
def bundles() -> Bundles:
    return Bundles()


async def ended(*calls: asyncio.Future[Invocation]) -> list[Invocation]:
    return await asyncio.wait_for(asyncio.gather(*calls), LIMIT_S)


async def test_fifty_callers_of_a_cold_function_cost_one_start(tmp_path: Path, bundles: Bundles) -> None:
    plan = bundles.plan(scaling={"max_replicas": 4, **KEEP})
    async with real_pool(tmp_path, bundles) as pool:
        answers = await ended(*(submit(pool, plan, number) for number in range(50)))
        assert [result_of(answer) for answer in answers] == [2 * number for number in range(50)]
        assert pool.stats.starts == 1
        assert all(answer.is_cold for answer in answers)
        assert list(answers[0].cold_phases_ns or {})[:3] == ["place", "zygote", "fork"]


async def test_an_idle_function_scales_to_zero_and_comes_back(tmp_path: Path, bundles: Bundles) -> None:
    plan = bundles.plan(scaling={"keep_alive_s": 0.05})
    async with real_pool(tmp_path, bundles) as pool:
        first = await call(pool, plan)
        (replica,) = pool.replicas("default", "double")
        await until_gone(pool)
        assert pool.replicas() == []
        assert not Path(f"/proc/{replica.pid}").exists()
        second = await call(pool, plan)
        assert result_of(first) == result_of(second) == 2
        assert second.is_cold


async def test_max_replicas_is_hard(tmp_path: Path, bundles: Bundles) -> None:
    plan = bundles.plan(
        "def busy(x):\n    import math\n    return math.factorial(x) % 10\n",
        "busy",
        scaling={"max_replicas": 2, "target_concurrency": 1, **KEEP},
    )
    async with real_pool(tmp_path, bundles) as pool:
        await ended(*(submit(pool, plan, 3000) for _ in range(40)))
        assert len(pool.replicas()) <= 2
        assert pool.stats.starts == 2


async def test_a_function_without_room_evicts_an_idle_one(tmp_path: Path, bundles: Bundles) -> None:
    first = bundles.plan(memory_mib=300, scaling=KEEP)
    second = bundles.plan("def triple(x):\n    return x * 3\n", "triple", memory_mib=300, scaling=KEEP)
    async with real_pool(tmp_path, bundles, memory_budget_bytes=400 * MIB) as pool:
        assert result_of(await call(pool, first)) == 2
        assert result_of(await call(pool, second)) == 3
        assert [replica.name for replica in pool.replicas()] == ["triple"]
        assert pool.stats.evictions == 1
        assert result_of(await call(pool, first)) == 2


async def test_a_roll_out_without_spare_room_loses_no_call(tmp_path: Path, bundles: Bundles) -> None:
    old = bundles.plan(memory_mib=300, scaling={"max_replicas": 1, **KEEP})
    new = bundles.plan("def double(x):\n    return x * 20\n", number=2, memory_mib=300, scaling=KEEP)
    async with real_pool(tmp_path, bundles, memory_budget_bytes=400 * MIB) as pool:
        await call(pool, old)
        to_old = [submit(pool, old, number) for number in range(100)]
        trial = await pool.dry_run(new, bundles.by_hash[new.bundle_sha256])
        to_old += [submit(pool, old, number) for number in range(100)]
        to_new = [submit(pool, new, number) for number in range(100)]
        pool.retire("default", "double", {2})
        assert [result_of(answer) for answer in await ended(*to_old)] == [2 * number for number in range(100)] * 2
        assert [result_of(answer) for answer in await ended(*to_new)] == [20 * number for number in range(100)]
        assert trial.memory_bytes > 0
        assert b"x" in trial.schema_json


async def test_three_failed_starts_open_the_breaker_and_retry_closes_it(tmp_path: Path, bundles: Bundles) -> None:
    weights = tmp_path / "weights"
    tmp_path.chmod(0o755)
    plan = bundles.plan(BROKEN.format(path=str(weights)), "broken", scaling=KEEP)
    async with real_pool(tmp_path, bundles) as pool:
        error = error_of(await call(pool, plan))
        assert isinstance(error, CrashLooping)
        assert "no weights here" in error.detail
        assert "about to read the weights" in error.log_tail
        assert pool.stats.failed_starts == 3
        assert isinstance(error_of(await call(pool, plan)), CrashLooping)
        assert pool.stats.failed_starts == 3
        breaker = pool.breaker("default", "broken")
        assert breaker is not None
        assert breaker.failures == 3
        weights.touch()
        pool.retry("default", "broken")
        assert result_of(await call(pool, plan, 7)) == 7
        assert pool.breaker("default", "broken") is None


async def test_warm_up_waits_until_ready_and_tells_why_not(tmp_path: Path, bundles: Bundles) -> None:
    good = bundles.plan(scaling={"max_replicas": 2, **KEEP})
    bad = bundles.plan("def bad(x):\n    return x\n\nraise OSError('no disk')\n", "bad")
    async with real_pool(tmp_path, bundles) as pool:
        await pool.warm_up(good, 2)
        assert [replica.state for replica in pool.replicas()] == ["ready", "ready"]
        assert not (await call(pool, good)).is_cold
        with pytest.raises(StartFailed, match="no disk"):
            await pool.warm_up(bad)


async def test_scaling_is_changed_while_running(tmp_path: Path, bundles: Bundles) -> None:
    plan = bundles.plan(scaling={"keep_alive_s": 0})
    async with real_pool(tmp_path, bundles) as pool:
        pool.set_scaling("default", "double", Scaling(min_replicas=1, keep_alive_s=0))
        await pool.warm_up(plan)
        assert not (await call(pool, plan)).is_cold
        pool.set_scaling("default", "double", None)
        await until_gone(pool)
        assert pool.replicas() == []


async def test_a_dry_run_leaves_nothing_and_tells_why_a_start_fails(tmp_path: Path, bundles: Bundles) -> None:
    plan = bundles.plan()
    bad = bundles.plan("def bad(x):\n    return missing\n", "bad", warmup={"x": 1})
    async with real_pool(tmp_path, bundles) as pool:
        seen = await pool.dry_run(plan, bundles.by_hash[plan.bundle_sha256])
        assert {"fork", "verify", "unpickle"} <= set(seen.phases_ns)
        with pytest.raises(StartFailed, match="missing") as failed:
            await pool.dry_run(bad, bundles.by_hash[bad.bundle_sha256])
        assert failed.value.start_phase == "warmup"
        assert pool.replicas() == []
        assert all(device.replicas == 0 for device in pool.devices())


async def test_a_replica_over_its_memory_is_ended_with_the_reason(tmp_path: Path, bundles: Bundles) -> None:
    source = "import threading\n\ndef hog(x):\n    block = bytearray(x)\n    threading.Event().wait(len(block))\n"
    plan = bundles.plan(source, "hog", memory_mib=128, scaling=KEEP)
    async with real_pool(tmp_path, bundles, memory_sample_s=0.05) as pool:
        error = error_of(await call(pool, plan, 300_000_000))
        assert isinstance(error, WorkerLost)
        assert "out of memory" in error.detail
        assert error.hint is not None
        await until_gone(pool)
        assert pool.stats.out_of_memory == 1


async def test_a_lost_worker_says_how_it_ended(tmp_path: Path, bundles: Bundles) -> None:
    plan = bundles.plan("import os\n\ndef leave(x):\n    os._exit(x)\n", "leave", scaling=KEEP)
    async with real_pool(tmp_path, bundles) as pool:
        error = error_of(await call(pool, plan, 7))
        assert isinstance(error, WorkerLost)
        assert "7" in error.detail
        assert isinstance(error_of(await call(pool, plan, 9)), WorkerLost)
        assert pool.breaker("default", "leave") is None


async def test_a_gpu_function_on_a_machine_without_gpu_is_told_what_there_is(tmp_path: Path, bundles: Bundles) -> None:
    plan = bundles.plan(gpu=["A100", "H100"])
    async with real_pool(tmp_path, bundles) as pool:
        error = error_of(await call(pool, plan))
        assert isinstance(error, NoCapacity)
        assert "A100 or H100" in error.detail
        assert "cpu (" in (error.hint or "")


async def test_drain_answers_what_was_accepted_and_leaves_no_process(tmp_path: Path, bundles: Bundles) -> None:
    plan = bundles.plan(scaling=KEEP)
    async with real_pool(tmp_path, bundles) as pool:
        await pool.warm_up(plan)
        pids = [replica.pid for replica in pool.replicas()]
        calls = [submit(pool, plan, number) for number in range(20)]
        await pool.drain(LIMIT_S)
        assert [result_of(answer) for answer in await ended(*calls)] == [2 * number for number in range(20)]
        assert pool.replicas() == []
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_a_missing_secret_is_named(tmp_path: Path, bundles: Bundles) -> None:
    source = "import os\n\ndef reveal(x):\n    return os.environ['KEY']\n"
    plan = bundles.plan(source, "reveal", secrets=["KEY"], scaling=KEEP)
    async with real_pool(tmp_path, bundles) as pool:
        assert "KEY" in error_of(await call(pool, plan)).detail
        bundles.secrets["KEY"] = "open sesame"
        pool.retry("default", "reveal")
        assert result_of(await call(pool, plan)) == "open sesame"

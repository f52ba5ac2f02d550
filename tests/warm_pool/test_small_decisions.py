"""Keep-alive, the crash-loop breaker, what is learned, and a replica's life cycle."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stoker.errors import BundleTampered, StartFailed
from stoker_pool.cpu_devices import CpuDevices, default_budget_bytes
from stoker_pool.crash_loop import CLOSED, after_failure, crash_looping, is_worth_another_try
from stoker_pool.devices import MIB
from stoker_pool.learned import DEFAULT_LOAD_S, JsonLearnedStore, Learned
from stoker_pool.placement import Placement
from stoker_pool.replica import MOVES, Replica, ReplicaState


def test_the_third_failed_start_in_a_row_opens_the_breaker() -> None:
    error = StartFailed("no weights", start_phase="enter", log_tail="last words")
    once = after_failure(CLOSED, error)
    thrice = after_failure(after_failure(once, error), error)
    assert not once.is_open
    assert thrice.is_open
    told = crash_looping("default/f@1", thrice)
    assert "no weights" in told.detail
    assert (told.start_phase, told.log_tail) == ("enter", "last words")
    assert is_worth_another_try(error)
    assert not is_worth_another_try(BundleTampered("hash"))


def test_a_new_revision_starts_from_what_its_function_taught(tmp_path: Path) -> None:
    store = JsonLearnedStore(tmp_path / "state" / "learned.json")
    learned = Learned(store.load())
    assert learned.memory_bytes("default/f@1") is None
    assert learned.load_s("default/f@1") == DEFAULT_LOAD_S
    learned.note_start("default/f@1", 100 * MIB, 4.0)
    learned.note_memory("default/f@1", 200 * MIB)
    store.save(learned.content())
    again = Learned(store.load())
    assert again.memory_bytes("default/f@2") == int(220 * MIB)
    assert again.load_s("default/f@2") == 4.0


def test_learned_memory_remembers_peaks_and_forgets_slowly() -> None:
    learned = Learned({})
    learned.note_start("default/f@1", 100 * MIB, 1.0)
    learned.note_start("default/f@1", 50 * MIB, 1.0)
    assert learned.memory_bytes("default/f@1") == int(int(95 * MIB) * 1.1)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"default/f@1": "x", "default/g@1": [1]}'], ids=str)
def test_a_broken_file_costs_the_knowledge_only(tmp_path: Path, text: str) -> None:
    path = tmp_path / "learned.json"
    path.write_text(text)
    assert Learned(JsonLearnedStore(path).load()).memory_bytes("default/f@1") is None


@pytest.mark.parametrize("start", list(ReplicaState), ids=lambda state: state.value)
@pytest.mark.parametrize("end", list(ReplicaState), ids=lambda state: state.value)
async def test_a_replica_moves_only_as_the_table_says(start: ReplicaState, end: ReplicaState) -> None:
    replica = Replica("r", Placement(devices=(), bytes_each=0), 0.0)
    replica.state = start
    if end in MOVES[start]:
        replica.move(end)
        assert replica.state is end
    else:
        with pytest.raises(ValueError, match=start.value):
            replica.move(end)
    assert isinstance(replica.ended, asyncio.Future)


def test_the_cpu_budget_stays_within_the_container(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 99 kB\nMemAvailable:    1024000 kB\n")
    assert default_budget_bytes(tmp_path) == int(0.8 * 1024000 * 1024)
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{600 * MIB}\n")
    (group / "memory.current").write_text(f"{100 * MIB}\n")
    assert default_budget_bytes(tmp_path) == 400 * MIB
    (group / "memory.max").write_text("max\n")
    assert default_budget_bytes(tmp_path) == int(0.8 * 1024000 * 1024)


def test_a_given_cpu_budget_is_taken_as_it_is() -> None:
    (device,) = CpuDevices(123 * MIB).read().devices
    assert device.memory_bytes == 123 * MIB
    assert device.cpu_slots >= 1

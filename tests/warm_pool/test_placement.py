"""Placement, eviction and the books never promise more than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stoker.options import GpuRequest, gpu_requests
from stoker_pool.devices import MIB, Device, DeviceKind, device_environment
from stoker_pool.eviction import Candidate, choose_victims, keep_value
from stoker_pool.ledger import DeviceLedger
from stoker_pool.placement import DeviceLoad, Need, NoRoom, Placement, place

GIB = 1024 * MIB


def gpu(index: int, memory_gib: int = 40, model: str = "NVIDIA A100-SXM4-40GB") -> Device:
    return Device(
        id=f"GPU-{index}", name=f"gpu{index}", kind=DeviceKind.GPU, memory_bytes=memory_gib * GIB, model=model
    )


def mig(index: int, profile: str = "1g.5gb") -> Device:
    return Device(
        id=f"MIG-{index}",
        name=f"gpu9/mig{index}",
        kind=DeviceKind.MIG,
        memory_bytes=5 * GIB,
        model="NVIDIA A100-SXM4-40GB",
        mig_profile=profile,
    )


CPU = Device(id="cpu", name="cpu", kind=DeviceKind.CPU, memory_bytes=16 * GIB)
DEVICES = (gpu(0), gpu(1), gpu(2, 80, "NVIDIA H100 80GB HBM3"), mig(0), mig(1), CPU)
needs = st.builds(
    Need,
    gpu=st.sampled_from(["A100", "A100:2", "H100", "A100:1g.5gb", None, ("H100", "cpu")]).map(
        lambda text: gpu_requests(text)
    ),
    memory_bytes=st.none() | st.integers(1, 50 * GIB),
)


def load(device: Device, used_bytes: int = 0) -> DeviceLoad:
    return DeviceLoad(device=device, used_bytes=used_bytes)


@given(st.lists(st.tuples(needs, st.booleans()), max_size=40))
def test_no_device_is_ever_promised_beyond_its_budget(steps: list[tuple[Need, bool]]) -> None:
    ledger = DeviceLedger(DEVICES)
    held: list[str] = []
    for number, (need, is_release) in enumerate(steps):
        if is_release and held:
            ledger.release(held.pop(0))
        elif isinstance(ledger.acquire(str(number), need), Placement):
            held.append(str(number))
        assert all(entry.used_bytes <= entry.device.memory_bytes for entry in ledger.loads())
    for replica_id in held:
        ledger.release(replica_id)
    assert all(entry.used_bytes == 0 for entry in ledger.loads())


def test_the_tightest_fit_is_chosen() -> None:
    found = place(Need(gpu=gpu_requests("A100"), memory_bytes=GIB), [load(gpu(0)), load(gpu(1), 30 * GIB)])
    assert isinstance(found, Placement)
    assert [device.name for device in found.devices] == ["gpu1"]


def test_shapes_are_tried_in_the_order_of_the_list() -> None:
    need = Need(gpu=gpu_requests(["H100", "A100"]), memory_bytes=GIB)
    first = place(need, [load(device) for device in DEVICES])
    second = place(need, [load(gpu(0)), load(gpu(2, 80, "NVIDIA H100 80GB HBM3"), 80 * GIB)])
    assert isinstance(first, Placement)
    assert isinstance(second, Placement)
    assert first.devices[0].name == "gpu2"
    assert second.devices[0].name == "gpu0"


def test_unknown_memory_takes_a_gpu_whole() -> None:
    need = Need(gpu=gpu_requests("A100"))
    assert isinstance(place(need, [load(gpu(0))]), Placement)
    assert isinstance(place(need, [load(gpu(0), 1)]), NoRoom)


def test_two_whole_gpus_are_two_different_ones() -> None:
    found = place(Need(gpu=gpu_requests("A100:2"), memory_bytes=20 * GIB), [load(gpu(0)), load(gpu(1))])
    assert isinstance(found, Placement)
    assert {device.id for device in found.devices} == {"GPU-0", "GPU-1"}
    assert found.bytes_each == 10 * GIB
    assert device_environment(found.devices) == {
        "CUDA_VISIBLE_DEVICES": "GPU-0,GPU-1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def test_a_slice_is_asked_for_by_its_profile() -> None:
    found = place(Need(gpu=(GpuRequest("A100", 1, "1g.5gb"),)), [load(device) for device in DEVICES])
    assert isinstance(found, Placement)
    assert device_environment(found.devices)["CUDA_VISIBLE_DEVICES"].startswith("MIG-")


def test_a_cpu_function_sees_no_gpu() -> None:
    found = place(Need(memory_bytes=GIB), [load(device) for device in DEVICES])
    assert isinstance(found, Placement)
    assert device_environment(found.devices)["CUDA_VISIBLE_DEVICES"] == ""


def test_what_can_never_fit_says_so_and_what_there_is() -> None:
    no_gpu = place(Need(gpu=gpu_requests("A100")), [load(CPU)])
    too_large = place(Need(memory_bytes=17 * GIB), [load(CPU)])
    only_full = place(Need(memory_bytes=GIB), [load(CPU, 16 * GIB)])
    assert isinstance(no_gpu, NoRoom)
    assert isinstance(too_large, NoRoom)
    assert isinstance(only_full, NoRoom)
    assert "A100" in (no_gpu.reason or "")
    assert "cpu (16384 MiB)" in (no_gpu.hint or "")
    assert "17408 MiB" in (too_large.reason or "")
    assert only_full.reason is None


def candidate(replica_id: str, size_gib: int, **fields: object) -> Candidate:
    known: dict[str, object] = {
        "device_ids": ("cpu",),
        "bytes_each": size_gib * GIB,
        "is_busy": False,
        "is_kept": False,
        "idle_s": 10.0,
        "calls_per_s": 0.0,
        "load_s": 1.0,
        **fields,
    }
    return Candidate(replica_id=replica_id, **known)  # type: ignore[arg-type]


candidates = st.lists(
    st.tuples(st.integers(1, 4), st.booleans(), st.booleans(), st.floats(0, 1000), st.floats(0, 50)), max_size=8
).map(
    lambda rows: [
        candidate(f"r{number}", size, is_busy=busy, is_kept=kept, idle_s=idle_s, calls_per_s=rate)
        for number, (size, busy, kept, idle_s, rate) in enumerate(rows)
    ]
)


@given(candidates, st.integers(1, 16))
def test_a_busy_replica_is_never_evicted_and_none_in_vain(those: list[Candidate], need_gib: int) -> None:
    used = min(sum(each.bytes_each for each in those), CPU.memory_bytes)
    need = Need(memory_bytes=need_gib * GIB)
    victims = choose_victims(need, [load(CPU, used)], those)
    assert not any(victim.is_busy or victim.is_kept for victim in victims or ())
    if victims:
        freed = sum(victim.bytes_each for victim in victims)
        assert isinstance(place(need, [load(CPU, max(used - freed, 0))]), Placement)
        for spared in victims:
            assert isinstance(place(need, [load(CPU, used - freed + spared.bytes_each)]), NoRoom)


def test_the_least_valuable_goes_first() -> None:
    rarely_used = candidate("rare", 4, idle_s=500.0)
    often_used = candidate("often", 4, calls_per_s=5.0)
    dear_to_load = candidate("dear", 4, idle_s=500.0, load_s=60.0)
    assert keep_value(rarely_used) < keep_value(dear_to_load) < keep_value(often_used)
    victims = choose_victims(Need(memory_bytes=5 * GIB), [load(CPU, 12 * GIB)], [often_used, dear_to_load, rarely_used])
    assert victims == (rarely_used,)


def test_nobody_leaves_where_that_would_not_help() -> None:
    assert choose_victims(Need(memory_bytes=8 * GIB), [load(CPU, 16 * GIB)], [candidate("small", 2)]) is None
    assert choose_victims(Need(memory_bytes=8 * GIB), [load(CPU)], [candidate("small", 2)]) == ()

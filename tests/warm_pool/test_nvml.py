"""GPUs as NVML tells of them, with answers recorded from machines that we do not have here."""

from __future__ import annotations

from tests.support.recorded_nvml import GIB, RecordedNvml, a100, a100_slice

from stoker.options import gpu_requests
from stoker_pool.devices import DeviceKind, fits_request
from stoker_pool.nvml import NvmlDevices


def test_a_gpu_in_mig_mode_is_its_slices() -> None:
    slices = [a100_slice(0, "1g.5gb", 5), None, a100_slice(1, "3g.20gb", 20)]
    library = RecordedNvml([a100(0), a100(1, mig_mode=1, slices=slices)])
    reading = NvmlDevices(library, budget_share=1.0).read()
    assert [(device.name, device.kind, device.mig_profile) for device in reading.devices] == [
        ("gpu0", DeviceKind.GPU, None),
        ("gpu1/mig0", DeviceKind.MIG, "1g.5gb"),
        ("gpu1/mig2", DeviceKind.MIG, "3g.20gb"),
    ]
    assert reading.devices[2].id == "MIG-00000001-bbbb"
    assert reading.devices[2].model == "NVIDIA A100-SXM4-40GB"
    assert reading.devices[2].memory_bytes == 20 * GIB
    assert reading.problems == ()
    assert library.opened == 0


def test_a_device_fits_the_names_that_people_use() -> None:
    (device,) = NvmlDevices(RecordedNvml([a100(0)])).read().devices
    fitting = [
        text for text in ("A100", "a100", "H100", "A100:1g.5gb", "A10") if fits_request(device, *gpu_requests(text))
    ]
    assert fitting == ["A100", "a100"]


def test_without_a_driver_there_is_no_gpu_and_a_reason() -> None:
    reading = NvmlDevices(RecordedNvml([], has_driver=False)).read()
    assert reading.devices == ()
    assert "NVML Shared Library Not Found" in reading.problems[0]


def test_an_nvml_that_knows_no_mig_still_gives_whole_gpus() -> None:
    reading = NvmlDevices(RecordedNvml([a100(0), a100(1)], knows_mig=False)).read()
    assert [device.name for device in reading.devices] == ["gpu0", "gpu1"]
    assert reading.problems == ()


def test_a_lost_gpu_is_left_out_and_named() -> None:
    reading = NvmlDevices(RecordedNvml([a100(0, lost=True), a100(1)])).read()
    assert [device.name for device in reading.devices] == ["gpu1"]
    assert reading.problems == ("gpu0 cannot be used: GPU is lost",)


def test_device_memory_of_a_process_is_summed_over_gpus() -> None:
    library = RecordedNvml([a100(0, processes={7: GIB, 8: GIB}), a100(1, processes={7: 2 * GIB})])
    assert NvmlDevices(library).used_bytes(7) == 3 * GIB
    assert NvmlDevices(RecordedNvml([], has_driver=False)).used_bytes(7) == 0


def test_the_real_library_is_read_on_any_machine() -> None:
    reading = NvmlDevices().read()
    assert reading.devices or reading.problems

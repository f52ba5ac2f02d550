"""A batch that raises is narrowed down in the worker, where that costs less than to ask the platform what to run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_runtime import batch_run
from stoker_runtime.batch_run import BatchRun
from stoker_runtime.entries import Entry, entries_of
from stoker_runtime.execution import Call
from stoker_runtime.frames import CallHeader, ErrorBody, ResultStatus, Verdict


def entry_of(function: Callable[..., object]) -> Entry:
    entry = entries_of(function, is_batched=True).default
    assert entry is not None
    return entry


def calls_of(values: list[int]) -> list[Call]:
    bodies = [b'{"x":%d}' % value for value in values]
    return [(CallHeader(number, "", len(body)), memoryview(body)) for number, body in enumerate(bodies)]


def outcomes(run: BatchRun) -> dict[int, object]:
    """By call: the value, or ``bad``, ``suspect``, ``unknown``."""
    found: dict[int, object] = {}
    for header, body in run.results:
        assert header.call_id not in found
        if header.status == ResultStatus.OK:
            found[header.call_id] = msgspec.json.decode(body)
        else:
            assert header.batch_failed
            found[header.call_id] = Verdict(header.verdict).name.lower()
    return found


class Checked:
    """User code that checks its items before the work, and what it was called with."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, x: list[int]) -> list[int]:
        self.sizes.append(len(x))
        if any(item < 0 for item in x):
            raise ValueError(f"a negative item among {len(x)}")
        return [item * 2 for item in x]


@given(values=st.lists(st.integers(-1, 9), min_size=1, max_size=64))
def test_what_comes_out_is_true_whoever_is_bad(values: list[int]) -> None:
    checked = Checked()
    run = BatchRun(entry_of(checked), calls_of(values), narrows=True)
    run.run()
    found = outcomes(run)
    assert sorted(found) == list(range(len(values)))
    for number, outcome in found.items():
        assert outcome in ("suspect", "unknown") or outcome == ("bad" if values[number] < 0 else values[number] * 2)
    suspects = [values[number] for number, outcome in found.items() if outcome == "suspect"]
    assert not suspects or min(suspects) < 0
    assert len(values) == 1 or "bad" not in found.values() or found != dict.fromkeys(found, "bad")
    assert len(checked.sizes) <= 2 + 4 * len(values).bit_length()


def test_it_ends_with_the_bad_item_or_with_answers_and_few_suspects() -> None:
    checked = Checked()
    run = BatchRun(entry_of(checked), calls_of([-1, *range(1, 32)]), narrows=True)
    run.run()
    assert checked.sizes == [32, 24, 18, 13, 9, 6, 4, 3, 2, 1]
    assert outcomes(run) == {0: "bad", **dict.fromkeys(range(1, 32), "unknown")}
    checked = Checked()
    run = BatchRun(entry_of(checked), calls_of([*range(31), -1]), narrows=True)
    run.run()
    assert checked.sizes == [32, 24]
    assert outcomes(run) == {
        **{number: 2 * number for number in range(24)},
        **dict.fromkeys(range(24, 32), "suspect"),
    }


def test_the_last_suspect_runs_at_once_and_gets_its_own_error() -> None:
    checked = Checked()
    run = BatchRun(entry_of(checked), calls_of([1, 2, 3, -1]), narrows=True)
    run.run()
    assert checked.sizes == [4, 3, 1]
    assert outcomes(run) == {0: 2, 1: 4, 2: 6, 3: "bad"}
    body = next(body for header, body in run.results if header.call_id == 3)
    assert msgspec.msgpack.decode(body, type=ErrorBody).message == "a negative item among 1"


@pytest.mark.parametrize("at_once_ns", [0, 10**12], ids=["dear", "not asked for"])
def test_a_dear_failure_is_left_to_the_platform(at_once_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_run, "_AT_ONCE_NS", at_once_ns)
    checked = Checked()
    run = BatchRun(entry_of(checked), calls_of([1, -1, 3]), narrows=at_once_ns == 0)
    run.run()
    assert checked.sizes == [3]
    assert outcomes(run) == dict.fromkeys(range(3), "suspect")


def test_a_cancelled_batch_has_a_result_for_every_item() -> None:
    run = BatchRun(entry_of(Checked()), calls_of([1, -1, 3]), narrows=True)
    run.fail(ValueError("bad"), 0)
    run.cancel()
    assert not run.has_items
    assert [header.call_id for header, _ in run.results] == [0, 1, 2]
    assert all(header.status == ResultStatus.CANCELED for header, _ in run.results)


def test_sys_exit_in_a_batch_is_told_as_its_error() -> None:
    def leave(x: list[int]) -> list[int]:
        raise SystemExit(3)

    run = BatchRun(entry_of(leave), calls_of([1]), narrows=True)
    run.run()
    assert outcomes(run) == {0: "bad"}


async def test_an_async_batch_is_narrowed_down_as_well() -> None:
    async def check(x: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return Checked()(x)

    run = BatchRun(entry_of(check), calls_of([1, 2, -1]), narrows=True)
    while run.has_items:
        try:
            value = await run.call()  # type: ignore[misc]
        except ValueError as error:
            run.fail(error, 0)
        else:
            run.succeed(value, 0)
    assert outcomes(run) == {0: 2, 1: 4, 2: "bad"}


def test_mates_that_filled_up_a_batch_of_suspects_do_not_run_before_them() -> None:
    checked = Checked()
    run = BatchRun(entry_of(checked), calls_of([1, 2, 3, 4, -1, 6]), narrows=True, suspects_below=3)
    run.run()
    assert checked.sizes == [6, 3]
    assert outcomes(run) == {0: 2, 1: 4, 2: 6, **dict.fromkeys((3, 4, 5), "suspect")}
    checked = Checked()
    run = BatchRun(entry_of(checked), calls_of([1, -1, 3, 4, 5, 6]), narrows=True, suspects_below=3)
    run.run()
    assert checked.sizes == [6, 3, 2, 1, 1]
    assert outcomes(run) == {0: 2, 1: "bad", **dict.fromkeys((2, 3, 4, 5), "unknown")}

"""Calls on real workers: every kind of function, every kind of body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.support.worker_starts import Caller, order_for, results_of

from stoker.errors import BundleTampered, StartFailed
from stoker.payload import encode_call
from stoker_runtime.frames import CallEncoding, CreditHeader, FrameKind, ResultStatus, Verdict
from stoker_runtime.worker_factory import WorkerFactory

pytestmark = pytest.mark.asyncio(loop_scope="module")
Start = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def factory(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerFactory]:
    async with WorkerFactory(tmp_path_factory.mktemp("factory")) as factory:
        yield factory


@pytest_asyncio.fixture(loop_scope="module")
async def start(factory: WorkerFactory, tmp_path: Path) -> AsyncIterator[Start]:
    started = []

    async def start(source: str, handler: str, **options: object) -> Caller:
        replica = await factory.start(order_for(source, handler, tmp_path, **options))
        caller = Caller(replica)
        started.append((replica, caller))
        return caller

    yield start
    for replica, caller in started:
        replica.kill()
        await replica.wait_exit()
        caller.close()


async def test_an_object_is_keyword_arguments(start: Start) -> None:
    caller = await start("def power(base, exponent=2): return base ** exponent", "power")
    assert (await caller.call({"base": 3})).value == 9
    assert (await caller.call({"base": 3, "exponent": 3})).value == 27


async def test_another_json_value_is_one_positional_argument(start: Start) -> None:
    caller = await start("def same(x): return x", "same")
    assert [a.value for a in await caller.call_many([1, "text", [1, 2], None])] == [1, "text", [1, 2], None]


async def test_an_sdk_call_carries_args_and_kwargs(start: Start) -> None:
    caller = await start("def join(a, *rest, sep='-'): return sep.join([a, *rest])", "join")
    answer = await caller.call([["a", "b"], {"sep": "+"}], encoding=int(CallEncoding.ARGS))
    assert answer.value == "a+b"


async def test_an_sdk_call_carries_bytes_among_other_arguments(start: Start) -> None:
    caller = await start("def size(name: str, parts: list[bytes]) -> list: return [name, *map(len, parts)]", "size")
    body = msgspec.json.decode(encode_call(("a",), {"parts": [b"\x00\xff", bytearray(3)]}).body)
    answer = await caller.call(body, encoding=int(CallEncoding.ARGS))
    assert answer.value == ["a", 2, 3]
    bad = await caller.call([[], {"name": "a", "parts": [{"$stoker.bytes": "?"}]}], encoding=int(CallEncoding.ARGS))
    assert bad.header.status == ResultStatus.INVALID_ARGUMENTS


async def test_arguments_that_do_not_fit_are_told_by_name(start: Start) -> None:
    caller = await start("def double(x): return x * 2", "double")
    answer = await caller.call({"y": 1})
    assert answer.header.status == ResultStatus.INVALID_ARGUMENTS
    assert answer.error.errors == [("x", "missing argument"), ("y", "unexpected argument")]


async def test_typed_input_is_enforced_with_the_path_of_the_wrong_field(start: Start) -> None:
    source = """
from pydantic import BaseModel
class Point(BaseModel):
    x: float
    tags: list[int] = []
def norm(point: Point) -> float:
    return abs(point.x)
"""
    caller = await start(source, "norm")
    assert (await caller.call({"point": {"x": -2}})).value == 2.0
    assert (await caller.call({"x": -3})).value == 3.0  # the object is the only parameter
    answer = await caller.call({"point": {"x": 1, "tags": [1, "two"]}})
    assert answer.header.status == ResultStatus.INVALID_ARGUMENTS
    assert [place for place, _ in answer.error.errors] == ["point.tags.1"]


async def test_an_error_of_user_code_travels_with_its_own_traceback(start: Start) -> None:
    caller = await start("def fail(x):\n    raise KeyError('lost', x)", "fail")
    answer = await caller.call({"x": 1})
    assert answer.header.status == ResultStatus.FUNCTION_ERROR
    assert answer.error.error_type == "builtins.KeyError"
    assert msgspec.json.decode(answer.error.args_json) == ["lost", 1]
    assert "raise KeyError('lost', x)" in answer.error.traceback
    assert "stoker_runtime" not in answer.error.traceback


async def test_sys_exit_ends_the_call_and_not_the_worker(start: Start) -> None:
    caller = await start("import sys\ndef leave(x):\n    sys.exit(3) if x else None\n    return 'here'", "leave")
    assert (await caller.call(1)).error.error_type == "builtins.SystemExit"
    assert (await caller.call(0)).value == "here"


async def test_nan_is_an_error_that_names_its_place(start: Start) -> None:
    caller = await start("def nan(x): return {'scores': [1.0, float('nan')], 'none': None}", "nan")
    answer = await caller.call(1)
    assert answer.header.status == ResultStatus.FUNCTION_ERROR
    assert "result.scores[1] is nan" in answer.error.message


async def test_a_response_sets_status_headers_and_type(start: Start) -> None:
    source = "import stoker.response as r\ndef page(x): return r.Response('<b>', 201, {'X-A': 'b'}, 'text/html')"
    answer = await (await start(source, "page")).call(1)
    assert (answer.header.http_status, answer.header.content_type, answer.body) == (201, "text/html", b"<b>")
    assert answer.header.headers == [("X-A", "b")]


async def test_bytes_come_and_go_as_they_are(start: Start) -> None:
    caller = await start("def flip(data: bytes): return data[::-1]", "flip")
    answer = await caller.call(b"abc" * 500_000, content_type="application/octet-stream")
    assert answer.body == b"cba" * 500_000
    assert answer.header.content_type == "application/octet-stream"


async def test_a_batch_is_one_execution_and_a_bad_item_fails_alone(start: Start) -> None:
    source = """
runs = []
def scale(x: list[int], by: list[int] = 10) -> list[int]:
    runs.append(len(x))
    return [ValueError('negative') if a < 0 else [a * b, runs[-1]] for a, b in zip(x, by)]
"""
    caller = await start(source, "scale", batch={"max_batch_size": 8})
    answers = await caller.call_many([{"x": 1, "by": 2}, {"x": -1}, {"x": "no"}, {"x": 4}], batched=True)
    assert answers[0].value == [2, 3]
    assert answers[1].error.message == "negative"
    assert not answers[1].header.batch_failed
    assert answers[2].header.status == ResultStatus.INVALID_ARGUMENTS
    assert answers[3].value == [40, 3]
    assert {answer.header.batch_size for answer in answers} == {4}


async def test_an_exception_of_a_whole_batch_is_narrowed_down(start: Start) -> None:
    source = "def check(x):\n    assert 13 not in x\n    return x"
    caller = await start(source, "check", batch={"max_batch_size": 8})
    answers = await caller.call_many([1, 13, 2, 3, 4], batched=True)
    verdicts = [(answer.header.batch_failed, answer.header.verdict) for answer in answers]
    assert verdicts == [(False, 0), (True, Verdict.BAD), *[(True, Verdict.UNKNOWN)] * 3]
    alone = (await caller.call_many([13], batched=True))[0]
    assert (alone.header.status, alone.header.batch_failed) == (ResultStatus.FUNCTION_ERROR, True)


async def test_a_batch_result_of_the_wrong_length_is_a_clear_error(start: Start) -> None:
    caller = await start("def short(x): return x[:1]", "short", batch={"max_batch_size": 8})
    answers = await caller.call_many([1, 2], batched=True)
    assert all("list of 2" in answer.error.message for answer in answers)


async def test_every_parameter_of_a_batch_is_a_list_whoever_names_it(start: Start) -> None:
    source = "def add(x, /, y=1): return [[a + b, type(y).__name__] for a, b in zip(x, y)]"
    caller = await start(source, "add", batch={"max_batch_size": 8})

    unnamed = await caller.call_many([{"x": 1}, {"x": 2}], batched=True)
    mixed = await caller.call_many([{"x": 1, "y": 5}, {"x": 2}], batched=True)

    assert [answer.value for answer in unnamed] == [[2, "list"], [3, "list"]]
    assert [answer.value for answer in mixed] == [[6, "list"], [3, "list"]]


async def test_a_function_for_one_item_is_called_item_by_item_under_batch(start: Start) -> None:
    caller = await start(
        "def half(x): return 10 // x if isinstance(x, int) else 0", "half", batch={"max_batch_size": 8}
    )
    await caller.call_many([5], batched=True)
    answers = await caller.call_many([5, 0, 2], batched=True)
    assert [answers[0].value, answers[2].value] == [2, 5]
    assert answers[1].error.error_type == "builtins.ZeroDivisionError"


async def test_code_for_lists_is_never_called_with_single_items(start: Start) -> None:
    caller = await start(
        "def lengths(texts): return [len(t) for t in texts if t]", "lengths", batch={"max_batch_size": 8}
    )
    answers = await caller.call_many(["abc", ""], batched=True)
    assert all("list of 2" in answer.error.message for answer in answers)


async def test_a_generator_streams_and_waits_for_credit(start: Start) -> None:
    caller = await start("def count(n):\n    for i in range(n): yield {'i': i}", "count")
    answer = await caller.call(100)
    assert answer.header.status == ResultStatus.STREAM_END
    assert [msgspec.json.decode(chunk)["i"] for chunk in answer.chunks] == list(range(100))


@pytest.mark.parametrize(
    "source",
    [
        "def forever(x):\n    while True: yield x",
        "import asyncio\nasync def forever(x):\n    while True:\n        yield x\n        await asyncio.sleep(0)",
    ],
    ids=["sync", "async"],
)
@pytest.mark.parametrize("concurrency", [1, 3], ids=["alone", "concurrent"])
async def test_a_canceled_stream_ends(start: Start, source: str, concurrency: int) -> None:
    caller = await start(source, "forever", concurrency=concurrency)
    (call_id,) = await caller.begin(["x"])
    assert (await caller.receive()).kind == FrameKind.CHUNK
    await caller.cancel(call_id)
    await caller.send(FrameKind.CREDIT, CreditHeader(call_id, 4))
    while (frame := await caller.receive()).kind == FrameKind.CHUNK:
        pass
    assert [header.status for header, _ in results_of(frame)] == [ResultStatus.CANCELED]


async def test_an_error_in_mid_stream_ends_it(start: Start) -> None:
    caller = await start("def broken(x):\n    yield 1\n    raise OSError('gone')", "broken")
    answer = await caller.call(1)
    assert (answer.chunks, answer.error.message) == ([b"1"], "gone")


async def test_async_calls_run_at_once(start: Start) -> None:
    source = """
import asyncio
seen = []
full = asyncio.Event()
async def meet(x):
    seen.append(x)
    if len(seen) == 3: full.set()
    await full.wait()
    return sorted(seen)
"""
    caller = await start(source, "meet", concurrency=3)
    answers = await caller.call_many([1, 2, 3])
    assert [answer.value for answer in answers] == [[1, 2, 3]] * 3


async def test_a_canceled_async_call_is_canceled_inside(start: Start) -> None:
    source = """
import asyncio
ended = []
async def wait(x):
    if x == 'ask': return ended
    try: await asyncio.Event().wait()
    finally: ended.append(x)
"""
    caller = await start(source, "wait", concurrency=2)
    (call_id,) = await caller.begin(["a"])
    await caller.cancel(call_id)
    assert results_of(await caller.receive())[0][0].status == ResultStatus.CANCELED
    assert (await caller.call("ask")).value in (["a"], [])


async def test_sync_calls_with_concurrency_run_in_threads_at_once(start: Start) -> None:
    source = "import threading\nb = threading.Barrier(3)\ndef meet(x):\n    b.wait()\n    return x"
    caller = await start(source, "meet", concurrency=3)
    assert [answer.value for answer in await caller.call_many([1, 2, 3])] == [1, 2, 3]


async def test_a_class_has_hooks_methods_and_state(start: Start, tmp_path: Path) -> None:
    source = """
from stoker.decorators import enter, exit, method
class Counter:
    @enter
    def begin(self): self.n = 10
    @method
    def add(self, by: int) -> int:
        self.n += by
        return self.n
    @method
    async def read(self): return self.n
    @exit
    def end(self): print('left with', self.n)
"""
    caller = await start(source, "Counter")
    assert (await caller.call({"by": 2}, method="add")).value == 12
    assert (await caller.call(b"", method="read")).value == 12
    answer = await caller.call({"by": 2})
    assert (answer.header.status, answer.error.message) == (2, "the call must name a method")
    await caller.send(FrameKind.STOP, None)
    with pytest.raises(EOFError):
        await caller.receive()


async def test_stop_runs_exit_hooks_and_what_they_print_is_logged(factory: WorkerFactory, tmp_path: Path) -> None:
    source = """
from stoker.decorators import exit
class Last:
    def __call__(self, x):
        print('working', end=' ')
        print('on', x)
        return x
    @exit
    def end(self): print('bye')
"""
    order = order_for(source, "Last", tmp_path)
    replica = await factory.start(order)
    caller = Caller(replica)
    await caller.call("it")
    await caller.send(FrameKind.STOP, None)
    exited = await replica.wait_exit()
    caller.close()
    lines = [msgspec.json.decode(line) for line in order.log_path.read_bytes().splitlines()]
    assert [(line["invocation"], line["line"]) for line in lines] == [("request-1", "working on it"), ("", "bye")]
    assert exited.returncode == 0
    assert not (order.scratch_root / order.replica_id).exists()


async def test_current_tells_the_call(start: Start) -> None:
    caller = await start("from stoker.context import current\ndef who(x): return current().request_id", "who")
    assert (await caller.call(1, request_id="abc")).value == "abc"


async def test_a_tampered_bundle_is_refused_before_anything_runs(factory: WorkerFactory, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    order = order_for(f"open({str(marker)!r}, 'w')\ndef f(x): return x", "f", tmp_path)
    other = order_for("def f(x): return 0", "f", tmp_path)
    for tampered in (
        replace(order, signature=other.signature),
        replace(order, bundle=other.bundle),
        replace(order, signature=b""),
    ):
        with pytest.raises(BundleTampered):
            await factory.start(tampered)
    assert not marker.exists()


async def test_a_start_that_raises_tells_phase_error_and_output(factory: WorkerFactory, tmp_path: Path) -> None:
    source = """
class Model:
    def load(self):
        print('about to')
        raise OSError('no weights')
    def __call__(self, x): return x
"""
    with pytest.raises(StartFailed) as caught:
        await factory.start(order_for(source, "Model", tmp_path))
    assert caught.value.start_phase == "enter"
    assert "no weights" in caught.value.detail
    assert "about to" in caught.value.log_tail


async def test_warmup_runs_before_ready_and_its_phases_are_told(factory: WorkerFactory, tmp_path: Path) -> None:
    phases: list[str] = []
    order = order_for("seen = []\ndef f(x):\n    seen.append(x)\n    return seen", "f", tmp_path, warmup={"x": "warm"})
    replica = await factory.start(order, phases.append)
    caller = Caller(replica)
    assert (await caller.call("call")).value == ["warm", "call"]
    assert phases[-4:] == ["verify", "unpickle", "enter", "warmup"]
    assert set(replica.phases_ns) == {"zygote", "fork", "verify", "unpickle", "enter", "warmup"}
    replica.kill()
    assert (await replica.wait_exit()).signal == 9
    caller.close()


async def test_a_schema_comes_from_the_type_hints(factory: WorkerFactory, tmp_path: Path) -> None:
    order = order_for("def f(x: int, y: list[str] | None = None) -> float: return 1.0", "f", tmp_path)
    replica = await factory.start(order)
    schema = msgspec.json.decode(replica.schema_json)
    assert schema["input"]["properties"]["x"] == {"type": "integer"}
    assert schema["input"]["required"] == ["x"]
    assert schema["output"] == {"type": "number"}
    replica.kill()
    await replica.wait_exit()


async def test_a_fresh_worker_holds_no_part_of_the_platform(start: Start) -> None:
    caller = await start("import sys\ndef modules(x): return sorted(sys.modules)", "modules")
    modules = set((await caller.call(1)).value)
    forbidden = ("stoker_api", "stoker_pool", "fastapi", "starlette", "uvicorn", "httpx", "sqlite3", "numpy")
    assert [name for name in modules if name.partition(".")[0] in forbidden] == []

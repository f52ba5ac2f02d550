from __future__ import annotations

from tests.support.dispatch_rig import Rig, body_of, error_of

from stoker.errors import Canceled, DeadlineExceeded, PayloadTooLarge, UnsupportedContent, WorkerLost
from stoker_runtime.frames import INITIAL_CREDIT_CHUNKS, ResultStatus


def test_chunks_are_handed_on_as_they_come() -> None:
    rig = Rig()
    replica = rig.replica()
    chunks: list[bytes] = []
    call = rig.call(chunks=chunks)
    replica.chunk(call.call_id, b"1")
    assert chunks == [b"1"]
    replica.chunk(call.call_id, b"2")
    replica.end(call.call_id)
    assert chunks == [b"1", b"2"]
    assert call.outcome is not None
    assert call.outcome.streamed


def test_credit_goes_back_only_for_what_the_consumer_took() -> None:
    rig = Rig()
    replica = rig.replica()
    call = rig.call(chunks=[])
    for _ in range(INITIAL_CREDIT_CHUNKS):
        replica.chunk(call.call_id, b"1")
    assert replica.credits == []
    for _ in range(16):
        rig.dispatcher.consumed(call, 1)
    assert sum(chunks for _, chunks in replica.credits) == 16


def test_a_stream_without_a_consumer_becomes_one_array() -> None:
    rig = Rig()
    replica = rig.replica()
    call = rig.call()
    for number in range(100):
        replica.chunk(call.call_id, b"%d" % number)
    replica.end(call.call_id)
    assert body_of(call) == b"[" + b",".join(b"%d" % number for number in range(100)) + b"]"
    assert sum(chunks for _, chunks in replica.credits) >= 100 - INITIAL_CREDIT_CHUNKS


def test_an_empty_stream_is_an_empty_array() -> None:
    rig = Rig()
    replica = rig.replica()
    call = rig.call()
    replica.end(call.call_id)
    assert body_of(call) == b"[]"


def test_binary_chunks_are_joined_and_mixed_ones_refused() -> None:
    rig = Rig()
    replica = rig.replica()
    binary, mixed = rig.call(), rig.call()
    for part in (b"ab", b"cd"):
        replica.chunk(binary.call_id, part, "application/octet-stream")
    replica.end(binary.call_id)
    replica.executions.clear()
    rig.loop.settle()
    replica.chunk(mixed.call_id, b"ab", "application/octet-stream")
    replica.chunk(mixed.call_id, b"1")
    replica.end(mixed.call_id)
    assert body_of(binary) == b"abcd"
    assert isinstance(error_of(mixed), UnsupportedContent)


def test_a_collected_stream_is_bounded() -> None:
    rig = Rig(max_collected_bytes=100)
    replica = rig.replica()
    call = rig.call()
    for _ in range(3):
        replica.chunk(call.call_id, b"x" * 60)
    assert isinstance(error_of(call), PayloadTooLarge)
    assert replica.cancelled == [call.call_id]


def test_a_stream_whose_client_left_is_cancelled_and_its_slot_freed_by_the_answer() -> None:
    rig = Rig()
    replica = rig.replica()
    chunks: list[bytes] = []
    call = rig.call(chunks=chunks)
    following = rig.call(b"next")
    replica.chunk(call.call_id, b"1")
    assert call.cancel is not None
    call.cancel()
    replica.chunk(call.call_id, b"2")
    assert chunks == [b"1"]
    assert isinstance(error_of(call), Canceled)
    replica.executions.popleft()
    replica.end(call.call_id, ResultStatus.CANCELED)
    replica.answer()
    assert body_of(following) == b"next"


def test_a_stalled_client_costs_its_call_and_not_the_replica() -> None:
    rig = Rig(timeout_s=1.0)
    replica = rig.replica()
    killed: list[str] = []
    replica.link.on_timeout = lambda link: killed.append(link.replica_id)
    call = rig.call(chunks=[])
    for _ in range(INITIAL_CREDIT_CHUNKS):
        replica.chunk(call.call_id, b"1")
    rig.loop.advance(1.1)
    assert isinstance(error_of(call), DeadlineExceeded)
    assert (replica.cancelled, killed) == ([call.call_id], [])
    rig.loop.advance(10.0)
    assert killed == ["r1"]


def test_a_stream_that_has_begun_is_not_run_again() -> None:
    rig = Rig(idempotent=True)
    replica = rig.replica()
    begun, fresh = rig.call(chunks=[]), rig.call(b"2", chunks=[])
    replica.chunk(begun.call_id, b"1")
    replica.die()
    assert isinstance(error_of(begun), WorkerLost)
    assert fresh.outcome is None

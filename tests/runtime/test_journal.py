"""What a dead worker leaves behind: what finished, what began, and nothing that was never whole."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from stoker_runtime.frames import ResultHeader, encode_result
from stoker_runtime.journal import SIZE_BYTES, Journal, JournalWriter
from stoker_runtime.replica_link import ReplicaLink


@pytest.fixture
def journal() -> Iterator[Journal]:
    made = Journal()
    yield made
    made.close()


@pytest.fixture
def writer(journal: Journal) -> JournalWriter:
    return JournalWriter(os.dup(journal.fileno()))


def _result(call_id: int, body: bytes) -> bytes:
    return encode_result(ResultHeader(call_id, 0, "", len(body), 1, 2, 3, 1))


def test_a_new_journal_holds_nothing(journal: Journal) -> None:
    assert journal.results() == []
    assert journal.started_id() == 0


def test_what_was_added_is_found_until_it_is_sent(journal: Journal, writer: JournalWriter) -> None:
    for call_id, body in ((1, b"one"), (2, b"")):
        writer.start(call_id)
        assert writer.add(_result(call_id, body), body)
    writer.start(3)

    found = [(header.call_id, body) for header, body in journal.results()]
    writer.clear()

    assert found == [(1, b"one"), (2, b"")]
    assert journal.results() == []
    assert journal.started_id() == 3


def test_what_was_seen_before_is_not_read_once_the_space_is_used_again(journal: Journal, writer: JournalWriter) -> None:
    writer.add(_result(1, b"one"), b"one")
    seen = journal.look()
    writer.clear()
    writer.add(_result(2, b"two"), b"two")

    assert journal.results(seen) == []
    assert [header.call_id for header, _ in journal.results()] == [2]


def test_what_does_not_fit_is_refused_and_leaves_the_rest_whole(journal: Journal, writer: JournalWriter) -> None:
    writer.add(_result(1, b"one"), b"one")

    assert not writer.add(_result(2, b""), bytes(SIZE_BYTES))
    assert [body for _, body in journal.results()] == [b"one"]


@pytest.mark.parametrize("filling", [b"\xff", b"\x00", b"\x91\x05"], ids=["ones", "zeros", "mixed"])
def test_what_a_hostile_worker_writes_is_no_result(journal: Journal, filling: bytes) -> None:
    os.pwrite(journal.fileno(), (filling * SIZE_BYTES)[:SIZE_BYTES], 0)

    assert journal.results() == []


def test_a_worker_cannot_take_the_memory_away(journal: Journal) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(journal.fileno(), 0)


def test_a_closed_journal_is_empty(journal: Journal, writer: JournalWriter) -> None:
    writer.start(7)
    journal.close()

    assert journal.results() == []
    assert journal.started_id() == 0


def test_a_link_that_holds_nothing_runs_nothing(journal: Journal) -> None:
    assert ReplicaLink("echo-1", concurrency=1, journal=journal).may_be_running() == []

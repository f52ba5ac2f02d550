"""The pure parts of triggers: addresses, events, offsets, letters and verdicts."""

from __future__ import annotations

import importlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InvalidInput, InvalidOption
from stoker_api.internal_calls import CallResult
from stoker_api.triggers.address import kind_of, redacted, without_secrets
from stoker_api.triggers.brokers.kafka_offsets import Offsets
from stoker_api.triggers.brokers.opening import adapter
from stoker_api.triggers.cloud_events import answer_headers, as_parameter, is_cloud_event, read_event
from stoker_api.triggers.letters import call_body, dead_letter
from stoker_api.triggers.new_trigger import NewTrigger, checked, record_of
from stoker_api.triggers.records import Kind, Message, Passed, TriggerRecord
from stoker_api.triggers.verdicts import Verdict, backoff_s, verdict


def record(url: str = "redis://h", topic: str = "in", passed: Passed = Passed.DATA) -> TriggerRecord:
    new = NewTrigger(name="t", function="f", url=url, topic=topic, passed=passed)
    return record_of(new, kind_of(url), trigger_id="trig_1", namespace="default", sealed=b"", now_s=0.0)


def ended(status: int, *, ran: bool) -> CallResult:
    return CallResult(status=status, problem={"status": status}, ran=ran)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://h:6379/0", Kind.REDIS),
        ("rediss://h", Kind.REDIS),
        ("amqp://u:p@h/v", Kind.RABBITMQ),
        ("nats://h:4222", Kind.NATS),
        ("kafka://h:9092", Kind.KAFKA),
        ("kafka://a:9092,b:9092", Kind.KAFKA),
        ("http:", Kind.HTTP),
    ],
)
def test_a_scheme_names_a_kind(url: str, kind: Kind) -> None:
    assert kind_of(url) is kind


@pytest.mark.parametrize("url", ["", "ftp://h", "redis:", "http://h/x", "redis://[::1", "redis://h:x"])
def test_what_is_no_brokers_url_is_refused_with_the_forms(url: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        kind_of(url)
    assert "redis://host" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:pw@h:1/0", "redis://user:***@h:1/0"),
        ("nats://token@h", "nats://***@h"),
        ("amqp://h/?auth=x&b=y", "amqp://h/?auth=***&b=***"),
        ("redis://h:1", "redis://h:1"),
    ],
)
def test_credentials_are_hidden(url: str, shown: str) -> None:
    assert redacted(url) == shown
    assert without_secrets(f"cannot reach {url}", url) == f"cannot reach {shown}"


@given(st.lists(st.integers(0, 1), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_an_offset_is_committed_only_behind_what_is_done(partitions: list[int], order: random.Random) -> None:
    offsets, open_ones = Offsets(), {0: set[int](), 1: set[int]()}
    received = list(enumerate(partitions))
    for offset, partition in received:
        offsets.received(partition, offset)
        open_ones[partition].add(offset)
    order.shuffle(received)
    last: dict[int, int] = {}
    for offset, partition in received:
        open_ones[partition].discard(offset)
        committed = offsets.done(partition, offset)
        if committed is not None:
            assert all(waiting >= committed for waiting in open_ones[partition])
            last[partition] = committed
    assert last == {partition: 1 + max(o for o, p in received if p == partition) for partition in set(partitions)}


@pytest.mark.parametrize(
    ("result", "attempt", "wanted"),
    [
        (CallResult(status=200), 1, Verdict.DONE),
        (ended(500, ran=True), 1, Verdict.AGAIN),
        (ended(500, ran=True), 3, Verdict.DEAD),
        (ended(502, ran=True), 1, Verdict.AGAIN),
        (ended(504, ran=True), 1, Verdict.AGAIN),
        (ended(422, ran=True), 1, Verdict.DEAD),
        (ended(429, ran=False), 3, Verdict.HELD),
        (ended(503, ran=False), 3, Verdict.HELD),
        (ended(404, ran=False), 3, Verdict.HELD),
        (ended(400, ran=False), 1, Verdict.DEAD),
    ],
    ids=lambda value: str(value.status) if isinstance(value, CallResult) else str(value),
)
def test_the_verdict_on_a_run(result: CallResult, attempt: int, wanted: Verdict) -> None:
    assert verdict(result, attempt, 3) is wanted


@given(st.integers(1, 1000), st.floats(0, 1e6) | st.none())
def test_backoff_grows_and_is_bounded(tries: int, asked_s: float | None) -> None:
    assert 0.25 <= backoff_s(tries, asked_s) <= 30.0
    assert backoff_s(tries + 1, asked_s) >= backoff_s(tries, asked_s)


ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


def test_both_modes_give_the_same_event() -> None:
    headers = {f"ce-{name}": value for name, value in ATTRIBUTES.items()}
    binary = read_event(headers, "application/json", b'{"x":1}')
    structured = read_event({}, "application/cloudevents+json", json.dumps({**ATTRIBUTES, "data": {"x": 1}}).encode())
    assert binary.data == structured.data
    assert binary.id == structured.id == "1"


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type"])
def test_a_missing_attribute_is_named(missing: str) -> None:
    attributes = {name: value for name, value in ATTRIBUTES.items() if name != missing}
    with pytest.raises(InvalidInput, match=missing):
        read_event({}, "application/cloudevents+json", json.dumps(attributes).encode())


@given(st.binary(max_size=200))
def test_junk_is_refused_and_never_more(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_event({}, "application/cloudevents+json", body)


@given(st.binary(max_size=200), st.sampled_from(["", "application/json", "text/plain", "image/png"]))
def test_any_data_passes_as_a_parameter(data: bytes, content_type: str) -> None:
    headers = {f"ce-{name}": value for name, value in ATTRIBUTES.items()}
    document = json.loads(as_parameter(read_event(headers, content_type, data)))
    assert document["event"]["id"] == "1"


def test_binary_data_of_a_structured_event_is_its_bytes() -> None:
    event = {**ATTRIBUTES, "datacontenttype": "image/png", "data_base64": "AAEC"}
    found = read_event({}, "application/cloudevents+json", json.dumps(event).encode())
    assert (found.data, found.content_type) == (b"\0\1\2", "image/png")


def test_an_answer_in_binary_mode_is_an_event_again() -> None:
    headers = answer_headers(event_id="a", source="/ä b", event_type="t", moment="2026-01-01T00:00:00Z")
    assert is_cloud_event(headers, "")
    assert read_event(headers, "text/plain", b"x").attributes["source"] == "/ä b"


def test_a_plain_message_may_be_passed_as_an_event() -> None:
    call = call_body(record(passed=Passed.EVENT), Message(id="5-0", body=b'{"x": 1}', content_type="application/json"))
    event = json.loads(call.body)["event"]
    assert (event["id"], event["source"], event["data"]) == ("5-0", "redis:in", {"x": 1})


@given(st.binary(max_size=100))
def test_a_dead_letter_holds_the_message_whole(body: bytes) -> None:
    letter = dead_letter(record(), Message(id="1", body=body, headers={"a": "b"}), {"code": "x"}, 3, "now")
    message = json.loads(letter.body)["message"]
    assert message["headers"] == {"a": "b"}
    assert ("body" in message) != ("body_base64" in message)


@pytest.mark.parametrize("topic", ["a.>", "a.*", "*.dead", ">"])
def test_a_nats_trigger_may_not_feed_itself(topic: str) -> None:
    with pytest.raises(InvalidOption, match="itself consumes"):
        checked(NewTrigger(name="t", function="f", url="nats://h", topic=topic, dead_letters="a.dead"))


async def test_a_missing_library_is_told_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError("No module named 'faststream'", name="faststream")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InvalidInput, match="faststream") as caught:
        await adapter(Kind.REDIS)
    assert 'pip install "stoker[triggers]"' in (caught.value.hint or "")

"""What goes into a call, among the results and to the dead letters, for one message. Pure.

The rule that must not break: a dead letter holds the message whole, so that it can be sent again by hand.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import msgspec

from stoker_api.gateway.answer import JSON_TYPE
from stoker_api.internal_calls import CallResult
from stoker_api.triggers.cloud_events import answer_headers, as_parameter, event_of_message, is_cloud_event, read_event
from stoker_api.triggers.records import Message, Outgoing, Passed, TriggerRecord


@dataclass(frozen=True, slots=True)
class CallBody:
    """What the function is given."""

    body: bytes
    content_type: str


def call_body(record: TriggerRecord, message: Message) -> CallBody:
    """A message as a call; raises ``InvalidInput`` for what says that it is a CloudEvent and is none."""
    if not is_cloud_event(message.headers, message.content_type):
        if record.passed is Passed.DATA:
            return CallBody(message.body, message.content_type)
        event = event_of_message(message.id, f"{record.kind.value}:{record.topic}", message.content_type, message.body)
        return CallBody(as_parameter(event), JSON_TYPE)
    event = read_event(message.headers, message.content_type, message.body)
    if record.passed is Passed.DATA:
        return CallBody(event.data, event.content_type)
    return CallBody(as_parameter(event), JSON_TYPE)


def result_letter(record: TriggerRecord, message: Message, result: CallResult, moment: str) -> Outgoing:
    """A result as a message, which names the one that it came of."""
    headers = {"stoker-trigger": record.name, "stoker-message-id": message.id}
    if record.reply_type:
        headers |= reply_headers(record, f"{record.id}/{message.id}", moment)
    return Outgoing(body=result.body, content_type=result.content_type, headers=headers)


def reply_headers(record: TriggerRecord, event_id: str, moment: str) -> dict[str, str]:
    """The attributes of the CloudEvent that carries a result."""
    source = f"/v1/triggers/{record.name}?namespace={record.namespace}"
    return answer_headers(event_id=event_id, source=source, event_type=record.reply_type, moment=moment)


def dead_letter(
    record: TriggerRecord, message: Message, problem: dict[str, object], attempts: int, moment: str
) -> Outgoing:
    """A message that used up its attempts, with the problem document of the last one."""
    kept: dict[str, object] = {
        "id": message.id,
        "topic": record.topic,
        "content_type": message.content_type,
        "headers": dict(message.headers),
    }
    try:
        kept["body"] = message.body.decode()
    except UnicodeDecodeError:
        kept["body_base64"] = base64.b64encode(message.body).decode()
    document = {
        "trigger": record.name,
        "namespace": record.namespace,
        "function": record.function,
        "time": moment,
        "attempts": attempts,
        "problem": problem,
        "message": kept,
    }
    headers = {"stoker-trigger": record.name, "stoker-message-id": message.id}
    return Outgoing(body=msgspec.json.encode(document), content_type=JSON_TYPE, headers=headers)

"""CloudEvents 1.0: read from HTTP in binary and structured mode, made of a broker's message, and written as an answer.

The rule that must not break: an event without one of the required attributes is refused by the attribute's name, and
data reaches the function byte for byte, as its sender wrote it (structured JSON: as the same JSON value).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import quote, unquote

import msgspec

from stoker.errors import InvalidInput, UnsupportedContent
from stoker_api.gateway.answer import JSON_TYPE

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
_PREFIX: Final = "ce-"
_REQUIRED: Final = ("specversion", "id", "source", "type")
_NAME: Final = re.compile(r"[a-z0-9]{1,64}")
_HINT: Final = "Send ce-specversion, ce-id, ce-source and ce-type, or a body of type application/cloudevents+json."


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """Attributes (with extensions), and data as bytes of a content type."""

    attributes: Mapping[str, object]
    data: bytes
    content_type: str

    @property
    def id(self) -> str:
        """Unique for its source."""
        return str(self.attributes["id"])


def is_cloud_event(headers: Mapping[str, str], content_type: str) -> bool:
    """Whether a message says that it is one. Names of headers are in lower case."""
    return _PREFIX + "specversion" in headers or _media_type(content_type) == STRUCTURED


def read_event(headers: Mapping[str, str], content_type: str, body: bytes) -> CloudEvent:
    """An event in either mode; raises ``InvalidInput``."""
    media_type = _media_type(content_type)
    if media_type == STRUCTURED:
        return _structured(body)
    if media_type == BATCHED:
        raise UnsupportedContent("batches of CloudEvents are not taken", hint="Post each event by itself.")
    attributes: dict[str, object] = {
        name.removeprefix(_PREFIX): unquote(value) for name, value in headers.items() if name.startswith(_PREFIX)
    }
    _check(attributes)
    if content_type:
        attributes["datacontenttype"] = content_type
    return CloudEvent(attributes=attributes, data=body, content_type=content_type)


def event_of_message(message_id: str, source: str, content_type: str, body: bytes) -> CloudEvent:
    """A plain message as an event."""
    attributes = {"specversion": "1.0", "id": message_id, "source": source, "type": "dev.stoker.message"}
    if content_type:
        attributes["datacontenttype"] = content_type
    return CloudEvent(attributes=attributes, data=body, content_type=content_type)


def as_parameter(event: CloudEvent) -> bytes:
    """The body of a call whose function takes the whole event as ``event``."""
    document: dict[str, object] = dict(event.attributes)
    if event.data:
        value, is_json = _json_or_none(event)
        if is_json:
            document["data"] = value
        elif _media_type(event.content_type).startswith("text/"):
            document["data"] = event.data.decode("utf-8", "replace")
        else:
            document["data_base64"] = base64.b64encode(event.data).decode()
    return msgspec.json.encode({"event": document})


def answer_headers(*, event_id: str, source: str, event_type: str, moment: str) -> dict[str, str]:
    """The attributes of an answer in binary mode; its content type is the data's."""
    attributes = {"specversion": "1.0", "id": event_id, "source": source, "type": event_type, "time": moment}
    return {_PREFIX + name: quote(value, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~") for name, value in attributes.items()}


def _structured(body: bytes) -> CloudEvent:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the CloudEvent is no JSON: {error}", hint=_HINT) from None
    if not isinstance(found, dict):
        raise InvalidInput(f"a CloudEvent is a JSON object, got {type(found).__name__}", hint=_HINT)
    attributes = {name: value for name, value in found.items() if name not in ("data", "data_base64")}
    _check(attributes)
    content_type = str(attributes.get("datacontenttype") or JSON_TYPE)
    if "data_base64" in found:
        try:
            data = base64.b64decode(cast(str, found["data_base64"]), validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise InvalidInput("data_base64 of the CloudEvent is no base64") from None
    elif "data" not in found:
        data = b""
    elif isinstance(found["data"], str) and not _is_json(content_type):
        data = found["data"].encode()
    else:
        data = msgspec.json.encode(found["data"])
    return CloudEvent(attributes=attributes, data=data, content_type=content_type)


def _check(attributes: Mapping[str, object]) -> None:
    for name in _REQUIRED:
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise InvalidInput(f"the CloudEvent has no {name!r}", hint=_HINT)
    if attributes["specversion"] != "1.0":
        raise InvalidInput(f"specversion must be '1.0', got {str(attributes['specversion'])[:20]!r}")
    for name in attributes:
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"an attribute's name must be of a-z and 0-9, got {name[:64]!r}")


def _json_or_none(event: CloudEvent) -> tuple[object, bool]:
    if event.content_type and not _is_json(event.content_type):
        return None, False
    try:
        return msgspec.json.decode(event.data), True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, False


def _is_json(content_type: str) -> bool:
    media_type = _media_type(content_type)
    return media_type == JSON_TYPE or media_type.endswith("+json")


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()

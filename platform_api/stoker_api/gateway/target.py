"""Which paths are invocations, and of what.

The rule that must not break: a path that is not an invocation's, letter by letter, belongs to the ASGI app.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from urllib.parse import unquote_to_bytes

DEFAULT_NAMESPACE: Final = "default"
_NAME: Final = rb"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_FUNCTION: Final = re.compile(rb"(?:/n/(?P<ns>%b))?/f/(?P<ref>(?P<name>%b)(?:@%b)?)" % (_NAME, _NAME, _NAME))
_PREDICT: Final = re.compile(rb"/v1/models/(?P<ref>(?P<name>%b)(?:@%b)?):predict" % (_NAME, _NAME))
_INFER: Final = re.compile(
    rb"/v2/models/(?P<ref>(?P<name>%b)(?:@%b)?)(?:/versions/(?P<version>%b))?/infer" % (_NAME, _NAME, _NAME)
)


class TargetKind(IntEnum):
    """Which protocol a call speaks."""

    INVOKE = 0
    PREDICT = 1  # KServe v1
    INFER = 2  # KServe v2, the Open Inference Protocol


@dataclass(frozen=True, slots=True)
class Target:
    """What a path calls. ``path`` is what the router takes."""

    kind: TargetKind
    namespace: str
    name: str
    path: bytes


class MalformedTarget(ValueError):
    """An invocation's path whose names cannot be names."""


def parse_target(path: bytes) -> Target | None:
    """Read a raw request path; None where it is not an invocation's, ``MalformedTarget`` where its names are bad."""
    is_function = path.startswith(b"/f/") or (path.startswith(b"/n/") and b"/f/" in path)
    is_predict = path.startswith(b"/v1/models/") and path.endswith(b":predict")
    is_infer = path.startswith(b"/v2/models/") and path.endswith(b"/infer")
    if not (is_function or is_predict or is_infer):
        return None
    plain = unquote_to_bytes(path) if b"%" in path else path
    pattern = _FUNCTION if is_function else _PREDICT if is_predict else _INFER
    match = pattern.fullmatch(plain)
    if match is None:
        raise MalformedTarget(path.decode("ascii", "replace"))
    name = match["name"].decode()
    if is_function:
        namespace = match["ns"].decode() if match["ns"] else DEFAULT_NAMESPACE
        return Target(TargetKind.INVOKE, namespace, name, plain)
    ref = match["ref"]
    if is_predict:
        return Target(TargetKind.PREDICT, DEFAULT_NAMESPACE, name, b"/f/" + ref)
    if match["version"]:
        ref = match["name"] + b"@" + match["version"]
    return Target(TargetKind.INFER, DEFAULT_NAMESPACE, name, b"/f/" + ref)

"""The invocation routes of registered functions, as OpenAPI path items.

The rule that must not break: what is said here of a function comes from its own schema; definitions of two functions
never meet, since each is put in place of its reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from stoker_api.gateway.ports import ModelInfo
from stoker_api.gateway.target import DEFAULT_NAMESPACE

PROBLEM_SCHEMA: Final[dict[str, object]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "phase", "retryable", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "phase": {"type": "string"},
        "retryable": {"type": "boolean"},
        "hint": {"type": ["string", "null"]},
        "function": {"type": ["string", "null"]},
        "request_id": {"type": "string"},
    },
}
_ERRORS: Final = {
    "400": "The request or one of its headers is wrong",
    "401": "No valid token",
    "403": "The token does not cover the namespace",
    "404": "No such function, revision or alias",
    "409": "The Idempotency-Key belongs to another request",
    "413": "The body is over the limit",
    "415": "A content type that the function cannot take",
    "422": "The arguments do not fit the schema",
    "429": "The queue is full; nothing ran",
    "500": "The function raised, or the platform failed",
    "502": "The worker died while the call ran",
    "503": "No replica could be had in time; nothing ran",
    "504": "The deadline passed",
    "507": "The disk is full: the job was not taken",
}
_MAX_DEPTH: Final = 12


def invoke_paths(functions: Iterable[ModelInfo]) -> dict[str, object]:
    """One path item for each function, to be merged into the document's ``paths``."""
    paths: dict[str, object] = {}
    for function in functions:
        is_default = function.namespace == DEFAULT_NAMESPACE
        prefix = "" if is_default else f"/n/{function.namespace}"
        paths[f"{prefix}/f/{function.name}"] = {"post": _operation(function)}
    return paths


def _operation(function: ModelInfo) -> dict[str, object]:
    schema = msgspec.json.decode(function.schema_json) if function.schema_json else {}
    schema = schema if isinstance(schema, dict) else {}
    problems = {
        status: {"description": text, "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}}}
        for status, text in _ERRORS.items()
    }
    answer = {"application/json": {"schema": _inline(schema.get("output"))}, "text/event-stream": {}}
    return {
        "operationId": f"invoke_{function.namespace}_{function.name}",
        "summary": f"Call {function.namespace}/{function.name}",
        "tags": ["invoke"],
        "parameters": [
            _header("Stoker-Timeout-Ms", {"type": "integer", "minimum": 1, "maximum": 86_400_000}, "The deadline"),
            _header(
                "Stoker-Priority", {"type": "string", "enum": ["interactive", "background", "batch"]}, "Who goes first"
            ),
            _header("Stoker-Method", {"type": "string"}, "A class's method"),
            _header("Stoker-Session", {"type": "string"}, "Equal values take the same side of a split alias"),
            _header(
                "Prefer", {"type": "string"}, "respond-async: answer with a job; wait=N: the result if it comes so soon"
            ),
            _header("Idempotency-Key", {"type": "string", "maxLength": 255}, "Makes a repeated submit one job"),
            _header("Stoker-Webhook", {"type": "string"}, "Tell these webhooks (ids or URLs) of the job's end"),
            _header("Stoker-Receipt", {"type": "string", "enum": ["1"]}, "Ask for the receipt beside the result"),
        ],
        "requestBody": {"content": {"application/json": {"schema": _inline(schema.get("input"))}, "*/*": {}}},
        "responses": {
            "200": {"description": "The function's result", "content": answer},
            "202": {"description": "A job, with Prefer: respond-async", "content": {"application/json": {}}},
            **problems,
        },
    }


def _header(name: str, schema: dict[str, object], description: str) -> dict[str, object]:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": description}


def _inline(schema: object) -> object:
    """The schema with its definitions in place of their references; what refers to itself ends as "anything"."""
    if not isinstance(schema, dict):
        return {}
    definitions = schema.get("$defs")
    return _replace(schema, definitions if isinstance(definitions, dict) else {}, ())


def _replace(value: object, definitions: dict[str, Any], within: tuple[str, ...]) -> object:
    if isinstance(value, list):
        return [_replace(item, definitions, within) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        found = definitions.get(reference.rpartition("/")[2])
        is_circle = reference in within or len(within) >= _MAX_DEPTH
        return {} if found is None or is_circle else _replace(found, definitions, (*within, reference))
    return {key: _replace(item, definitions, within) for key, item in value.items() if key != "$defs"}

"""The JSON schema of a function: what its callers may send and what they get.

The rule that must not break: a type that has no schema is left open (``{}``), never an error at load.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

from stoker_runtime.signature import Binder

Schema = dict[str, object]


def function_schema(binders: Mapping[str, Binder], default: str | None) -> bytes:
    """``{"input", "output", "methods"}`` as JSON; ``default`` is the entry that a plain call runs."""
    methods = {name: _entry_schema(binder) for name, binder in binders.items()}
    top = methods.get(default) if default is not None else None
    document: Schema = {**(top or {"input": {}, "output": {}})}
    document["methods"] = methods if len(methods) > 1 or default is None else {}
    return msgspec.json.encode(document)


def _entry_schema(binder: Binder) -> Schema:
    definitions: Schema = {}
    properties = {name: _lifted(hint, definitions) for name, hint in binder.hints.items()}
    for name, value in binder.defaults.items():
        if value is None or isinstance(value, (str, int, float, bool)):
            schema = properties[name]
            if isinstance(schema, dict):
                schema["default"] = value
    inputs: Schema = {"type": "object", "properties": properties, "required": list(binder.required)}
    inputs["additionalProperties"] = binder.takes_more_names
    if definitions:
        inputs["$defs"] = definitions
    output_definitions: Schema = {}
    output = _lifted(binder.returns, output_definitions)
    if output_definitions:
        output["$defs"] = output_definitions
    return {"input": inputs, "output": output}


def _lifted(hint: object, definitions: Schema) -> Schema:
    """The schema of one type, its definitions moved to the top where ``$ref`` looks for them."""
    if hint in (inspect.Parameter.empty, Any, object):
        return {}
    from pydantic import PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticInvalidForJsonSchema

    try:
        schema = TypeAdapter[Any](hint).json_schema()  # type: ignore[arg-type]  # whatever the user wrote
        msgspec.json.encode(schema)
    except (PydanticUserError, PydanticInvalidForJsonSchema, TypeError, NameError):
        return {}
    definitions.update(schema.pop("$defs", {}))
    return schema

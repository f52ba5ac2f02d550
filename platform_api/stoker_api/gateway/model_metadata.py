"""A function's JSON schema as the tensors that a v2 client would send and get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stoker_api.gateway.ports import ModelInfo

_DATATYPES: Final = {"integer": "INT64", "number": "FP64", "boolean": "BOOL", "string": "BYTES"}


def model_metadata(model: ModelInfo) -> dict[str, object]:
    """The metadata document. Parameters are inputs; an output with properties is one tensor for each."""
    schema = msgspec.json.decode(model.schema_json) if model.schema_json else {}
    schema = schema if isinstance(schema, dict) else {}
    inputs = _object(schema.get("input"))
    outputs = _object(schema.get("output"))
    definitions = {**_object(inputs.get("$defs")), **_object(outputs.get("$defs"))}
    output_properties = _object(_resolve(outputs, definitions).get("properties")) or {"output_0": outputs}
    return {
        "name": model.name,
        "versions": [str(number) for number in model.revisions],
        "platform": "stoker",
        "inputs": _tensors(_object(_resolve(inputs, definitions).get("properties")), definitions),
        "outputs": _tensors(output_properties, definitions),
    }


def _tensors(properties: Mapping[str, object], definitions: Mapping[str, object]) -> list[dict[str, object]]:
    return [_tensor(name, _object(schema), definitions) for name, schema in properties.items()]


def _tensor(name: str, schema: Mapping[str, Any], definitions: Mapping[str, object]) -> dict[str, object]:
    shape: list[int] = []
    schema = _resolve(schema, definitions)
    while schema.get("type") == "array" and len(shape) < 8:
        shape.append(-1)
        schema = _resolve(_object(schema.get("items")), definitions)
    kind = schema.get("type")
    datatype = _DATATYPES.get(kind, "BYTES") if isinstance(kind, str) else "BYTES"
    return {"name": name, "datatype": datatype, "shape": shape or [1]}


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, object]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _object(definitions.get(reference.rpartition("/")[2]))
    return schema


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

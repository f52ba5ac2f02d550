"""Options as plain JSON and back: the form in which they are sent, stored and compared.

The rule that must not break: ``options_from_json(options_to_json(o)) == o``, and an unknown key is refused by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from stoker.errors import InvalidOption
from stoker.known_options import check_known
from stoker.options import (
    Batch,
    EnvironmentSpec,
    FunctionOptions,
    GpuRequest,
    Retries,
    Scaling,
    gpu_requests,
    string_pairs,
)
from stoker.schedule import Cron, Every, schedule_from_json, schedule_to_json


def options_to_json(options: FunctionOptions) -> dict[str, object]:
    """The options as the JSON object that ``POST /v1/functions`` takes."""
    out: dict[str, object] = {}
    for spec in dataclasses.fields(options):
        out[spec.name] = _plain(getattr(options, spec.name), spec.name)
    return out


def options_from_json(name: str, data: Mapping[str, object]) -> FunctionOptions:
    """Read the options of function ``name``; raises ``InvalidOption`` naming the key and the value."""
    known = {spec.name for spec in dataclasses.fields(FunctionOptions)}
    check_known("options", data, sorted(known))
    values: dict[str, Any] = {key: value for key, value in data.items() if value is not None}
    values["name"] = name
    for key, cls in (("batch", Batch), ("scaling", Scaling), ("retries", Retries)):
        if key in values:
            values[key] = _nested(key, cls, values[key])
    if "environment" in values:
        values["environment"] = environment_from_json(values["environment"])
    if "gpu" in values:
        values["gpu"] = gpu_requests(values["gpu"] or None)
    for key in ("env", "labels"):
        if key in values:
            values[key] = string_pairs(key, _mapping(key, values[key]))
    if "schedule" in values:
        values["schedule"] = schedule_from_json(values["schedule"])
    if "secrets" in values:
        values["secrets"] = _strings("secrets", values["secrets"])
    return FunctionOptions(**values)


def environment_from_json(data: object) -> EnvironmentSpec:
    """Read an environment; raises ``InvalidOption``."""
    mapping = _mapping("environment", data)
    known = {spec.name for spec in dataclasses.fields(EnvironmentSpec)}
    check_known("environment", mapping, sorted(known))
    return EnvironmentSpec(
        python_packages=_strings("environment.python_packages", mapping.get("python_packages") or ()),
        preload=_strings("environment.preload", mapping.get("preload") or ()),
        env=string_pairs("environment.env", _mapping("environment.env", mapping.get("env") or {})),
        files=_strings("environment.files", mapping.get("files") or ()),
    )


def _plain(value: object, name: str) -> object:
    if name == "schedule":
        assert value is None or isinstance(value, (Cron, Every))
        return schedule_to_json(value)
    if name in ("env", "labels"):
        return dict(value)  # type: ignore[call-overload]
    if name == "gpu":
        assert isinstance(value, tuple)
        return [str(request) for request in value] or None
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, GpuRequest)):
        return {spec.name: _plain(getattr(value, spec.name), spec.name) for spec in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


def _nested(key: str, cls: Any, value: object) -> object:
    mapping = _mapping(key, value)
    check_known(key, mapping, sorted({spec.name for spec in dataclasses.fields(cls)}))
    return cls(**mapping)


def _mapping(key: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidOption(f"{key} must be an object, got {value!r}")
    return value


def _strings(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise InvalidOption(f"{key} must be a list of strings, got {value!r}")
    return tuple(value)

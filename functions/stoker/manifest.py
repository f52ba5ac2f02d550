"""What a bundle says about itself, readable without running anything of it.

The rule that must not break: reading a manifest never unpickles, and an unknown field of a newer writer is skipped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from stoker.errors import InvalidInput

FORMAT_VERSION: Final = 1
BundleKind = Literal["pickle", "source"]


@dataclass(frozen=True, slots=True)
class CapturedGlobal:
    """A value that travels inside the pickle because the function refers to it."""

    name: str
    type: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Where a bundle was made and what it needs."""

    kind: BundleKind
    python: str
    """``major.minor``."""
    implementation: str = "cpython"
    cloudpickle: str = ""
    platform: str = ""
    """``system-machine``, e.g. ``linux-x86_64``."""
    format_version: int = FORMAT_VERSION
    handler: str = ""
    """The name of the pickled object; empty for source, whose handler is given at registration."""
    handler_kind: str = ""
    """``function``, ``async``, ``generator``, ``async_generator`` or ``class``."""
    modules: tuple[str, ...] = ()
    """Top-level modules it imports, without the standard library and without local ones."""
    preload: tuple[str, ...] = ()
    """Dotted names of what it imports: worth importing once before any fork, where that works."""
    packages: tuple[tuple[str, str], ...] = ()
    """(distribution, version) of those modules where it was made."""
    module_packages: tuple[tuple[str, str], ...] = ()
    """(module, distribution): which package each module came from."""
    captured: tuple[CapturedGlobal, ...] = ()
    native_files: tuple[str, ...] = ()
    """Compiled files that travel along and fit one platform only."""

    def to_json(self) -> dict[str, object]:
        """As a plain JSON object."""
        out: dict[str, object] = {
            spec.name: _listed(getattr(self, spec.name)) for spec in dataclasses.fields(self) if spec.name != "captured"
        }
        out["packages"] = dict(self.packages)
        out["module_packages"] = dict(self.module_packages)
        out["captured"] = [dataclasses.asdict(item) for item in self.captured]
        return out

    def encode(self) -> bytes:
        """The bytes of ``manifest.json``: the same content always gives the same bytes."""
        return json.dumps(self.to_json(), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, data: object) -> Manifest:
        """Read it back; raises ``InvalidInput`` naming the field."""
        reader = _Reader(data)
        version = reader.data.get("format_version")
        if version != FORMAT_VERSION:
            raise InvalidInput(
                f"bundle format_version must be {FORMAT_VERSION}, got {version!r}",
                hint="Deploy with a stoker client of the platform's own version.",
            )
        kind = reader.text("kind")
        if kind not in ("pickle", "source"):
            raise InvalidInput(f'bundle kind must be "pickle" or "source", got {kind!r}')
        return cls(
            kind="pickle" if kind == "pickle" else "source",
            python=reader.text("python"),
            implementation=reader.text("implementation"),
            cloudpickle=reader.text("cloudpickle"),
            platform=reader.text("platform"),
            handler=reader.text("handler"),
            handler_kind=reader.text("handler_kind"),
            modules=reader.texts("modules"),
            preload=reader.texts("preload"),
            packages=reader.pairs("packages"),
            module_packages=reader.pairs("module_packages"),
            captured=reader.captured(),
            native_files=reader.texts("native_files"),
        )


@dataclass(frozen=True)
class _Reader:
    source: object
    data: Mapping[str, object] = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.source, Mapping):
            raise InvalidInput(f"manifest.json must be an object, got {type(self.source).__name__}")
        object.__setattr__(self, "data", self.source)

    def text(self, key: str) -> str:
        value = self.data.get(key, "")
        if not isinstance(value, str):
            raise InvalidInput(f"manifest {key} must be text, got {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.data.get(key, ())
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise InvalidInput(f"manifest {key} must be a list of texts, got {value!r}")
        return tuple(value)

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        value = self.data.get(key, {})
        if not isinstance(value, Mapping) or not all(
            isinstance(k, str) and isinstance(v, str) for k, v in value.items()
        ):
            raise InvalidInput(f"manifest {key} must map texts to texts, got {value!r}")
        return tuple(sorted(value.items()))

    def captured(self) -> tuple[CapturedGlobal, ...]:
        items = self.data.get("captured", ())
        if not isinstance(items, Sequence) or not all(isinstance(item, Mapping) for item in items):
            raise InvalidInput(f"manifest captured must be a list of objects, got {items!r}")
        found = []
        for item in items:
            size = item.get("size_bytes", 0)
            if not isinstance(size, int):
                raise InvalidInput(f"manifest captured size_bytes must be a whole number, got {size!r}")
            found.append(CapturedGlobal(str(item.get("name", "")), str(item.get("type", "")), size))
        return tuple(found)


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value

"""What a user says about a function's Python environment, and the digest by which it is built once.

The rule that must not break: equal content has an equal digest, whatever the order in which it was written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from stoker.errors import InvalidOption
from stoker.known_options import knows_its_options
from stoker.local_modules import is_third_party
from stoker.options import EnvironmentSpec, string_pairs

_REQUIREMENT: Final = re.compile(r"^\s*(?P<name>[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[|@|[<>=!~;(]|$)")
_MODULE: Final = re.compile(r"^[^\W\d]\w*(\.[^\W\d]\w*)*$")


@knows_its_options
class Environment:
    """A Python environment: packages to install, modules to import once, variables, files that travel along."""

    __slots__ = ("spec",)

    spec: EnvironmentSpec

    def __init__(
        self,
        *,
        python_packages: Sequence[str] = (),
        preload: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        files: Sequence[str] = (),
    ) -> None:
        self.spec = EnvironmentSpec(
            python_packages=_texts("environment.python_packages", python_packages),
            preload=_texts("environment.preload", preload),
            env=string_pairs("environment.env", env),
            files=_texts("environment.files", files),
        )
        check_environment(self.spec)

    def __repr__(self) -> str:
        return f"Environment({self.spec})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Environment) and other.spec == self.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    @property
    def digest(self) -> str:
        """The content hash by which it is built once."""
        return environment_digest(self.spec)


def check_environment(spec: EnvironmentSpec) -> None:
    """Raise ``InvalidOption`` for what no installer and no import could read."""
    for package in spec.python_packages:
        if requirement_name(package) is None:
            raise InvalidOption(
                f"environment.python_packages must hold requirements such as 'numpy>=2', got {package!r}"
            )
    for module in spec.preload:
        if not _MODULE.match(module):
            raise InvalidOption(
                f"environment.preload must hold module names such as 'torch' or 'PIL.Image', got {module!r}"
            )


def environment_digest(spec: EnvironmentSpec) -> str:
    """SHA-256 over what decides the installed environment: packages and variables, in any order.

    ``preload`` and ``files`` are left out: they change what is imported and what travels, not what is installed.
    """
    content = {"packages": sorted({item.strip() for item in spec.python_packages}), "env": sorted(spec.env)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def requirement_name(requirement: str) -> str | None:
    """The normalised name in a requirement string; None where there is none."""
    match = _REQUIREMENT.match(requirement)
    return normalised(match["name"]) if match else None


def normalised(distribution: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def worth_preloading(names: set[str]) -> tuple[str, ...]:
    """Those of the modules that are installed packages' public ones, sorted."""
    # pydantic.main is only where BaseModel lives: importing the package brings it.
    names = {name.removesuffix(".main") for name in names if is_third_party(name)}
    names = {name for name in names if not any(part[:1] == "_" for part in name.split("."))}
    return tuple(sorted(names))


def _texts(option: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        raise InvalidOption(f"{option} must be a list of strings, got {value!r}", hint=f"Write [{value!r}].")
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(item, str) for item in value):
        raise InvalidOption(f"{option} must be a list of strings, got {value!r}")
    return tuple(value)

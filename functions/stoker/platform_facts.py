"""What a platform has, as far as it decides whether a bundle can run there.

The rule that must not break: unknown facts (None) never refuse a bundle.
"""

from __future__ import annotations

import importlib.metadata
import pkgutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass

from stoker.bundle import this_platform
from stoker.environment import normalised


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformFacts:
    """Versions and packages of the platform's own interpreter."""

    python: str | None = None
    implementation: str | None = None
    cloudpickle: str | None = None
    platform: str | None = None
    packages: Mapping[str, str] | None = None
    """Version by normalised distribution name."""
    modules: frozenset[str] | None = None
    """Top-level modules that its interpreter can import, without the standard library."""


UNKNOWN = PlatformFacts()


def own_facts() -> PlatformFacts:
    """The facts of this interpreter: the platform asks this about itself."""
    found = importlib.metadata.packages_distributions()
    return PlatformFacts(
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        implementation=sys.implementation.name,
        cloudpickle=importlib.metadata.version("cloudpickle"),
        platform=this_platform(),
        packages={
            normalised(name): importlib.metadata.version(name)
            for name in {owner for n in found.values() for owner in n}
        },
        modules=frozenset(found) | _installed_modules(),
    )


def _installed_modules() -> frozenset[str]:
    """Found by looking into the folders, for packages whose metadata does not list their modules."""
    folders = {sysconfig.get_paths()[key] for key in ("purelib", "platlib")}
    return frozenset(module.name for module in pkgutil.iter_modules(sorted(folders)))

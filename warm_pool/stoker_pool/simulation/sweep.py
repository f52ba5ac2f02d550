"""One policy at many settings: what its curve is drawn through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from stoker_pool.simulation.policies import PolicySpec, parse_policy

SETTINGS: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "adaptive": (30, 60, 120, 300, 600, 1200, 2400, 4800, 9600, 19200),
        "fixed": (60, 120, 180, 300, 420, 600, 900, 1200, 1800, 3600, 7200),
        "hybrid-histogram": (0.5, 1, 2, 4, 8),
        "oracle-keep-alive": (60, 120, 300, 600, 1200, 3600),
    }
)


def swept(specs: Sequence[PolicySpec]) -> list[PolicySpec]:
    """Each policy at the settings of its family beside its own; those without settings alone."""
    found: dict[str, PolicySpec] = {}
    for spec in specs:
        family = spec.label.partition(":")[0]
        for setting in SETTINGS.get(family, ()):
            other = parse_policy(f"{family}:{setting:g}")
            found.setdefault(other.label, other)
        found.setdefault(spec.label, spec)
    return list(found.values())

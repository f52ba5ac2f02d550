"""Spans of time on a command line: ``3600``, ``90s``, ``12h``, ``90d``.

The rule that must not break: a bare number means seconds.
"""

from __future__ import annotations

import re
from typing import Any, Final

import click

from stoker.cli.parameter_type import ParameterType

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(ParameterType):
    """A span of time in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; a wrong one is a usage error."""
        if isinstance(value, (int, float)):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value)
        if match is None:
            self.fail(f"{value!r} is no duration; write seconds, or 90s, 15m, 12h, 90d", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


DURATION: Final = Duration()

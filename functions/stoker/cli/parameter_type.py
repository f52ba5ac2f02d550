"""The base of our parameter types: click's own, which newer versions of click make generic.

The rule that must not break: it runs with every click that the distribution allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import click

if TYPE_CHECKING:
    ParameterType: TypeAlias = click.ParamType[Any]
else:
    ParameterType = click.ParamType

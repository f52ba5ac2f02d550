"""``{{ scheduled_time:%Y-%m-%d }}`` in paths and arguments, filled in with the tick in the schedule's zone.

The rule that must not break: the tick that is named is filled in, not the time at which its run begins; so a backfill
reads and writes what the missed run would have.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from stoker.errors import InvalidOption

_PLACE: Final = re.compile(r"\{\{\s*([^{}:]*?)\s*(?::([^{}]*?))?\s*\}\}")
_NAME: Final = "scheduled_time"


def filled_in(value: Any, moment: datetime) -> Any:
    """The value with every place in its texts filled in; raises ``InvalidOption`` for an unknown one."""
    if isinstance(value, str):
        return _PLACE.sub(lambda match: _text(match, moment), value) if "{{" in value else value
    if isinstance(value, dict):
        return {key: filled_in(item, moment) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled_in(item, moment) for item in value]
    return value


def _text(match: re.Match[str], moment: datetime) -> str:
    name, form = match[1], match[2]
    if name != _NAME:
        raise InvalidOption(
            f"there is no {{{{ {name} }}}} to fill in", hint=f"Known: {{{{ {_NAME} }}}} and {{{{ {_NAME}:%Y-%m-%d }}}}."
        )
    if form is None:
        return moment.isoformat(timespec="seconds")
    try:
        return moment.strftime(form)
    except ValueError as error:
        raise InvalidOption(
            f"{form!r} is no form of a time: {error}", hint="As in {{ scheduled_time:%Y-%m-%d }}."
        ) from error

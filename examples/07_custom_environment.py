"""A function with packages and variables of its own.

The platform builds the environment once, by content, with uv; functions that ask for the same one share it. A name
that does not resolve is refused at registration, with the resolver's own words.

    stoker deploy examples/07_custom_environment.py
    stoker call spell number=1848
"""

from __future__ import annotations

import stoker

environment = stoker.Environment(
    python_packages=["num2words==0.5.14"],
    preload=["num2words"],
    env={"SPELL_LANGUAGE": "nl"},
)


@stoker.function(environment=environment, scaling=stoker.Scaling(keep_alive_s=30))
def spell(number: int, language: str | None = None) -> str:
    """A number in words."""
    import os

    from num2words import num2words

    return str(num2words(number, lang=language or os.environ.get("SPELL_LANGUAGE", "en")))

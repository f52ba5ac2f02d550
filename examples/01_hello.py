"""The smallest function there is.

stoker deploy examples/01_hello.py
stoker call hello name=world
curl -H "Authorization: Bearer $STOKER_TOKEN" $STOKER_URL/f/hello -d '{"name": "world"}'
"""

from __future__ import annotations

import stoker


@stoker.function(scaling=stoker.Scaling(keep_alive_s=30))
def hello(name: str = "world") -> str:
    """Greet somebody."""
    return f"Hello, {name}!"

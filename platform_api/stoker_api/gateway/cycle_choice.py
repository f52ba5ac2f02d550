"""Which cycle answers which head."""

from __future__ import annotations

from stoker_api.gateway.cycle import InvokeCycle
from stoker_api.gateway.head import RequestHead


def cycle_class(head: RequestHead) -> type[InvokeCycle]:
    """The class for one call."""
    return InvokeCycle

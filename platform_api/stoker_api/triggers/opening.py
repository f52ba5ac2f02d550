"""Puts the rooms of triggers together."""

from __future__ import annotations

from collections.abc import Callable

from stoker_api.stores.sqlite.database import Database
from stoker_api.stores.sqlite.triggers import SqliteTriggerStore
from stoker_api.triggers.brokers.opening import adapter, open_source
from stoker_api.triggers.consumer import Calls
from stoker_api.triggers.triggers import Triggers
from stoker_runtime.clock import Clock


def open_triggers(
    database: Database, calls: Calls, key: bytes, clock: Clock, has_function: Callable[[str, str], bool]
) -> Triggers:
    """Triggers that consume inside their block."""
    return Triggers(SqliteTriggerStore(database), calls, key, clock, open_source, adapter, has_function)

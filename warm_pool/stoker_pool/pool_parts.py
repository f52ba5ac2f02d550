"""What all revisions of one pool share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stoker_pool.backend import Backend
from stoker_pool.learned import Learned
from stoker_pool.ledger import DeviceLedger
from stoker_pool.owned_tasks import OwnedTasks
from stoker_pool.pool_stats import PoolStats
from stoker_pool.room import RoomKeeper
from stoker_pool.settings import PoolSettings
from stoker_pool.warmth import Warmth
from stoker_runtime.clock import Clock
from stoker_runtime.wake_timer import Timers


@dataclass(slots=True, kw_only=True)
class PoolParts:
    """Made by the pool when it opens."""

    backend: Backend
    clock: Clock
    timers: Timers
    settings: PoolSettings
    learned: Learned
    ledger: DeviceLedger
    room: RoomKeeper
    stats: PoolStats
    tasks: OwnedTasks
    warmth: Warmth
    on_start: Callable[[], None]
    """Called whenever a replica became ready."""
    on_learned: Callable[[], None]
    """Called whenever the forecast was told something worth keeping."""
    on_moved: Callable[[Iterable[str]], None]
    """Called with functions whose windows have changed because others were called."""
    is_closing: bool = False

"""Settings of the warm pool."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """All of the pool; the platform reads them once at its start."""

    cpu_memory_budget_bytes: int | None = None
    """Memory that CPU replicas may use together; None: 80 % of what is free at the start."""
    scale_down_window_s: float = 30.0
    """How long a lower need must last before replicas above it drain."""
    memory_sample_s: float | None = 1.0
    """How often the memory of replicas is measured; None: never."""
    stop_grace_s: float = 5.0
    """Time that a replica gets for its exit hooks before it is killed."""
    cold_hold_s: float | None = None
    """How long a call waits for a start; None: the function's ``startup_timeout_s``."""
    learned_save_delay_s: float = 2.0
    """Estimates that changed are saved after so long."""
    forecast_save_delay_s: float = 300.0
    """What the forecast learned is saved after so long, and at the end."""
    park_limit_s: float = 60.0
    """How long a replica may take to leave its device for host memory before it is killed."""
    prewarm_budget_s: float | None = None
    """Device seconds per hour that replicas started before any call may wait, all together; None: no limit."""
    cold_start_target: float | None = None
    """Share of calls that may start cold, over all adaptive functions that do not say what a cold start is worth."""
    idle_budget_s: float | None = None
    """Idle seconds per hour that the forecasts of those functions may take together; None: no limit but the price."""
    least_away_s: float = 30.0
    """A replica that is due back within so long is not let go: a start is work, whatever it saves."""
    keep_on_idle_gpus: bool = True
    """An adaptive function without ``gpu_second_cost`` stays on a GPU until another wants the room."""

    def __post_init__(self) -> None:
        target, budget_s = self.cold_start_target, self.idle_budget_s
        if target is not None and not 0 < target <= 1:
            raise ValueError(f"cold_start_target must be above 0 and at most 1, got {target}")
        if budget_s is not None and not 0 <= budget_s < math.inf:
            raise ValueError(f"idle_budget_s must be seconds >= 0, got {budget_s}")

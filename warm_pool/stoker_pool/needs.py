"""What a replica of a revision asks for: what was declared, else what was learned."""

from __future__ import annotations

from stoker_pool.devices import MIB
from stoker_pool.learned import Learned
from stoker_pool.placement import Need
from stoker_pool.plan import RevisionPlan


def need_of(plan: RevisionPlan, learned: Learned) -> Need:
    """What one replica of the revision asks for."""
    declared = plan.options.memory_mib
    memory_bytes = declared * MIB if declared is not None else learned.memory_bytes(plan.key)
    return Need(gpu=plan.options.gpu, memory_bytes=memory_bytes)

"""The eviction of the live pool, as a rule of the simulator.

The rule that must not break: who leaves is what ``eviction.choose_victims`` says of the same candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from stoker_pool.devices import MIB
from stoker_pool.eviction import Candidate, choose_victims, keep_value
from stoker_pool.ledger import DeviceLedger
from stoker_pool.placement import Need
from stoker_runtime.arrival_rate import ArrivalRate

NextUse = Callable[[int, float], float]


class ProductionEviction:
    """Candidates as the pool makes them; next use from the forecast where there is one, else from the call rate."""

    def __init__(self, start_s: float, load_s: float, next_use: NextUse | None = None) -> None:
        self._start_s = start_s
        self._load_s = load_s
        self._next_use = next_use
        self._rates: dict[int, ArrivalRate] = {}
        self._idle_s: dict[int, float] = {}

    def note_calls(self, owner: int, now_s: float, count: int) -> None:
        rate = self._rates.get(owner)
        if rate is None:
            rate = self._rates[owner] = ArrivalRate(now_s)
        rate.note(count, now_s)

    def note_load(self, owner: int, now_s: float, load_s: float) -> None:
        """Nothing to learn: load times are given."""

    def note_idle(self, owner: int, now_s: float) -> None:
        self._idle_s[owner] = now_s

    def victims(self, needed_mib: int, idle: Sequence[int], ledger: DeviceLedger, now_s: float) -> list[int] | None:
        chosen = choose_victims(
            Need(memory_bytes=needed_mib * MIB),
            ledger.loads(),
            [self._candidate(owner, ledger, now_s) for owner in idle],
        )
        return None if chosen is None else [int(candidate.replica_id) for candidate in chosen]

    def least_worth(self, owners: Iterable[int], now_s: float) -> int:
        return min(owners, key=lambda owner: keep_value(self._candidate(owner, None, now_s)))

    def _candidate(self, owner: int, ledger: DeviceLedger | None, now_s: float) -> Candidate:
        device_ids, bytes_each = ledger.taken(str(owner)) if ledger is not None else ((), 0)
        return Candidate(
            replica_id=str(owner),
            device_ids=device_ids,
            bytes_each=bytes_each,
            is_busy=False,
            is_kept=False,
            idle_s=now_s - self._idle_s.get(owner, self._start_s),
            calls_per_s=self._calls_per_s(owner, now_s),
            load_s=self._load_s,
            next_use_per_s=self._next_use(owner, now_s) if self._next_use is not None else 0.0,
        )

    def _calls_per_s(self, owner: int, now_s: float) -> float:
        rate = self._rates.get(owner)
        return rate.per_s(now_s) if rate is not None else 0.0

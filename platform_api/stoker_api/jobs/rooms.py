"""What those who run jobs work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from stoker.errors import PlatformError, WorkerLost
from stoker_api.gateway.problems import encode_problem, problem
from stoker_api.internal_calls import InternalCalls
from stoker_api.jobs.event_hub import EventHub
from stoker_api.jobs.functions import FunctionLookup
from stoker_api.jobs.payloads import Payloads
from stoker_api.jobs.ports import JobStore, RunStore
from stoker_api.jobs.records import JobRecord
from stoker_api.jobs.run_lines import RunLines
from stoker_api.jobs.settings import JobSettings
from stoker_api.jobs.tallies import JobTallies
from stoker_api.jobs.verdicts import Allowance, allowance
from stoker_runtime.clock import Clock


class WarmthOracle(Protocol):
    """Is told of calls that are certain to come, so that a replica is ready just before."""

    def expect(self, namespace: str, name: str, at_s: float, *, source: str) -> None: ...

    def unexpect(self, namespace: str, name: str, source: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerRooms:
    """The rooms beside a runner."""

    runs: RunStore
    jobs: JobStore
    calls: InternalCalls
    functions: FunctionLookup
    payloads: Payloads
    hub: EventHub
    lines: RunLines
    tallies: JobTallies
    oracle: WarmthOracle
    clock: Clock
    settings: JobSettings

    def now_s(self) -> float:
        """Unix time."""
        return self.clock.now().timestamp()

    def allowance(self, record: JobRecord) -> Allowance:
        """How often the job may run."""
        found = self.functions.find(record.namespace, record.function, record.ref)
        return allowance(record.max_attempts, None if found is None else found.options)


class JobExpired(PlatformError):
    """A job waited for longer than its ``max_age_s``."""

    code = "expired"
    status = 504
    phase = "queue"


def lost(detail: str) -> WorkerLost:
    """A run that nobody knows the end of."""
    return WorkerLost(
        detail,
        hint="It may have run. Declare the function idempotent=True, or submit with max_attempts, to have it run again "
        "by itself; `stoker jobs retry` runs it now.",
    )


def problem_json(error: PlatformError, record: JobRecord | None = None) -> str:
    """An error as a job keeps it."""
    function = None if record is None else f"{record.namespace}/{record.function}"
    return encode_problem(
        problem(error, request_id="" if record is None else record.id, function=function, is_owner=True)
    ).decode()


EXPIRED_JSON: Final = problem_json(
    JobExpired("the job waited for longer than its max_age_s", hint="`stoker jobs retry` gives it as long again.")
)

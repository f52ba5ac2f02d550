"""Jobs whose runner is dead.

The rule that must not break: each of them goes back into the queue, or, where it may have run and must not run twice,
to the dead letters; being interrupted is no fault of the job, so it costs no attempt.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from stoker_api.jobs.records import JobEnd, JobRecord
from stoker_api.jobs.rooms import RunnerRooms, lost, problem_json
from stoker_api.jobs.states import JobState

log = logging.getLogger(__name__)
_MOST_PER_LOOK: Final = 1000
_MOST_RUNS: Final = 100
"""A job that was there each time when the platform went down is a suspect."""


async def take_over(rooms: RunnerRooms, runner: str, alive_s: float) -> int:
    """Take the jobs of all runners whose lease ended before ``alive_s``; how many there were."""
    count = 0
    while True:
        orphans = await rooms.runs.orphans(runner, alive_s, _MOST_PER_LOOK)
        await asyncio.gather(*(_adopt(rooms, record) for record in orphans))
        count += len(orphans)
        if orphans:
            log.info("jobs of a lost runner taken over", extra={"jobs": len(orphans)})
            rooms.hub.tell([record.id for record in orphans])
        if len(orphans) < _MOST_PER_LOOK:
            return count


async def _adopt(rooms: RunnerRooms, record: JobRecord) -> None:
    assert record.runner is not None
    reason = problem_json(lost("the platform was lost while the job ran"), record)
    may_run_again = rooms.allowance(record).is_repeatable or record.state is JobState.STARTING
    if may_run_again and record.run < _MOST_RUNS:
        rooms.tallies.note_put_back(record)
        await rooms.runs.put_back(
            record.runner,
            record.id,
            record.run,
            not_before_s=record.not_before_s,
            now_s=rooms.now_s(),
            counts=False,
            reason_json=reason,
        )
        return
    end = JobEnd(state=JobState.FAILED, problem_json=reason)
    ended = await rooms.runs.end(record.runner, record.id, record.run, end, rooms.now_s())
    if ended is not None:
        rooms.tallies.note_end(ended)

"""``/v1/history``: when functions were called, as a trace that ``stoker simulate`` reads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from stoker_api.control.edge import AnyGrant, PlatformDep
from stoker_pool.call_log import FileCallLog, csv_head, csv_lines

router = APIRouter(prefix="/v1/history", tags=["history"])
_PIECE_ROWS: Final = 2000


@router.get(
    "",
    summary="Recorded traffic",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}, "description": "function,t,n,d"}},
)
async def history(
    platform: PlatformDep,
    grant: AnyGrant,
    last_s: Annotated[
        float | None, Query(gt=0, allow_inf_nan=False, description="Only the last so many seconds")
    ] = None,
) -> Response:
    """One row per function and ten seconds in which it was called; of the namespaces that the token covers."""
    covered = grant.namespaces

    def covers(function: str) -> bool:
        return covered is None or function.partition("/")[0] in covered

    await platform.call_log.flush()
    now_s = platform.clock.now().timestamp()
    since_s = 0.0 if last_s is None else now_s - last_s
    pieces = _pieces(platform.call_log, since_s, now_s, covers)
    return StreamingResponse(pieces, media_type="text/csv; charset=utf-8", headers={"cache-control": "no-store"})


def _pieces(calls: FileCallLog, since_s: float, now_s: float, covers: Callable[[str], bool]) -> Iterator[str]:
    rows = calls.rows(since_s, covers)
    first = list(itertools.islice(rows, _PIECE_ROWS))
    start_s = since_s or (first[0][1] if first else now_s)
    yield csv_head(start_s, now_s)
    while first:
        yield csv_lines(first)
        first = list(itertools.islice(rows, _PIECE_ROWS))

"""``/v1/schedules``: when functions run without a caller, and how those runs went."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field

from stoker.errors import InvalidInput
from stoker.options import check_name
from stoker.schedule import Schedule, parse_moment, schedule_from_json, schedule_to_json
from stoker_api.batches.records import MAX_FAILED_FRACTION, MOST_ROWS_PER_PART, ROWS_PER_PART
from stoker_api.control.documents import Json
from stoker_api.control.edge import DeployNamespace, Document, PlatformDep, read_document, takes
from stoker_api.control.webhooks import moment
from stoker_api.platform import Platform
from stoker_api.schedules.records import RunRecord, ScheduleRecord, Target
from stoker_api.schedules.ticks import Ticks, moment_s, shown

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])
_BATCH_DEFAULTS = {
    "output_format": "jsonl",
    "rows_per_part": ROWS_PER_PART,
    "max_failed_fraction": MAX_FAILED_FRACTION,
}


class BatchTarget(Document):
    """A batch run: as ``POST /v1/batches`` takes it; texts may hold ``{{ scheduled_time:%Y-%m-%d }}``."""

    input: str | list[str]
    input_format: str | None = None
    output: str | None = None
    output_format: str = "jsonl"
    mapping: dict[str, str] = Field(default_factory=dict)
    key: str | None = None
    rows_per_part: Annotated[int, Field(ge=1, le=MOST_ROWS_PER_PART)] = ROWS_PER_PART
    max_concurrency: Annotated[int | None, Field(ge=1, le=100_000)] = None
    max_failed_fraction: Annotated[float, Field(ge=0, le=1, strict=False)] = MAX_FAILED_FRACTION
    overwrite: bool = False
    finish_within_s: Annotated[float | None, Field(gt=0, le=30 * 86_400)] = None
    """Its deadline, counted from the tick."""


class _Fields(Document):
    ref: str | None = None
    cron: str | None = None
    timezone: str | None = None
    every_s: float | None = None
    arguments: Any = None
    method: str | None = None
    start: str | None = None
    end: str | None = None
    jitter_s: float | None = None
    overlap: str | None = None
    misfire: str | None = None
    misfire_grace_s: float | None = None
    late_after_s: float | None = None
    batch: BatchTarget | None = None
    webhooks: list[str] | None = Field(default=None, max_length=8)


class ScheduleSpec(_Fields):
    """A schedule to be made: ``cron`` or ``every_s``, and what it starts."""

    name: str
    function: str
    paused: bool = False


class ScheduleChange(_Fields):
    """What to change; what is not named stays."""

    function: str | None = None
    paused: bool | None = None


class BackfillSpec(Document):
    """A range of time in the past; without an offset it is meant in the schedule's zone."""

    from_: str = Field(alias="from")
    to: str
    dry_run: bool = False


@router.get("", summary="List schedules")
async def list_schedules(platform: PlatformDep, namespace: DeployNamespace) -> Json:
    """By name, each with its next tick."""
    found = await platform.schedules.all(namespace)
    return {"schedules": [_document(platform, record, 1) for record in found]}


@router.post("", status_code=201, openapi_extra=takes(ScheduleSpec), summary="Create a schedule")
async def create_schedule(request: Request, platform: PlatformDep, namespace: DeployNamespace) -> Json:
    """``next`` of the answer shows its first five ticks."""
    spec = await read_document(request, ScheduleSpec)
    check_name("name", spec.name)
    request.state.function = f"{namespace}/{spec.function}"
    record = await platform.schedules.create(
        namespace,
        spec.name,
        spec.function,
        schedule_from_json(_timing(spec)),
        target=_target(spec, Target()),
        webhook_ids=await platform.webhooks.checked_targets(namespace, spec.webhooks or []),
        is_paused=spec.paused,
    )
    return _document(platform, record)


@router.get("/{name}", summary="Show a schedule")
async def get_schedule(platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """By name or id, with its next five ticks and its last runs."""
    record = await platform.schedules.get(namespace, name)
    runs = await platform.schedules.history(record, None, 5)
    return {**_document(platform, record), "runs": [_run(record, run) for run in runs]}


@router.patch("/{name}", openapi_extra=takes(ScheduleChange), summary="Change a schedule")
async def change_schedule(request: Request, platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """With another ``cron`` or ``every_s``, ticks count from now on."""
    change = await read_document(request, ScheduleChange)
    record = await platform.schedules.get(namespace, name)
    webhook_ids = None
    if change.webhooks is not None:
        webhook_ids = await platform.webhooks.checked_targets(namespace, change.webhooks)
    changed = await platform.schedules.change(
        record,
        function=change.function,
        schedule=_changed(record.schedule, change),
        target=_target(change, record.target),
        webhook_ids=webhook_ids,
        is_paused=change.paused,
    )
    return _document(platform, changed)


@router.delete("/{name}", summary="Delete a schedule")
async def delete_schedule(platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """With its history; what it started goes on."""
    record = await platform.schedules.get(namespace, name)
    await platform.schedules.delete(record)
    return {"deleted": True, "id": record.id, "name": record.name, "namespace": record.namespace}


@router.post("/{name}/pause", summary="Pause a schedule")
async def pause_schedule(platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """No tick counts until it is resumed; what runs goes on."""
    record = await platform.schedules.get(namespace, name)
    return _document(platform, await platform.schedules.change(record, is_paused=True))


@router.post("/{name}/resume", summary="Resume a schedule")
async def resume_schedule(platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """Ticks count from now on; those of the pause are not made up for."""
    record = await platform.schedules.get(namespace, name)
    return _document(platform, await platform.schedules.change(record, is_paused=False))


@router.post("/{name}/run", status_code=202, summary="Run a schedule now")
async def run_schedule(platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """Beside its ticks, also while it is paused."""
    record = await platform.schedules.get(namespace, name)
    return _run(record, await platform.schedules.run_now(record))


@router.post("/{name}/backfill", status_code=202, openapi_extra=takes(BackfillSpec), summary="Run what was missed")
async def backfill(request: Request, platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """Every tick of a past range that has no run, oldest first; ``dry_run`` only counts them."""
    spec = await read_document(request, BackfillSpec)
    record = await platform.schedules.get(namespace, name)
    ticks = Ticks(record.schedule)
    from_s, to_s = (_bound(option, text, ticks) for option, text in (("from", spec.from_), ("to", spec.to)))
    made, found = await platform.schedules.backfill(record, from_s, to_s, dry_run=spec.dry_run)
    return {
        "ticks": len(found),
        "runs": made,
        "first": shown(found[0], ticks.zone),
        "last": shown(found[-1], ticks.zone),
        "dry_run": spec.dry_run,
    }


@router.get("/{name}/runs", summary="List a schedule's runs")
async def list_runs(
    platform: PlatformDep,
    namespace: DeployNamespace,
    name: str,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Json:
    """Newest first; ``next`` is the ``before`` of the page after this one."""
    record = await platform.schedules.get(namespace, name)
    runs = await platform.schedules.history(record, before, limit)
    return {"runs": [_run(record, run) for run in runs], "next": runs[-1].seq if len(runs) == limit else None}


def _timing(spec: _Fields) -> Json:
    """What the request says of the schedule itself."""
    given = spec.model_dump(exclude_unset=True, exclude={"name", "function", "ref", "batch", "webhooks", "paused"})
    return {key: value for key, value in given.items() if value is not None}


def _changed(schedule: Schedule, change: ScheduleChange) -> Schedule:
    given = change.model_dump(exclude_unset=True, exclude={"name", "function", "ref", "batch", "webhooks", "paused"})
    now = dict(schedule_to_json(schedule) or {})
    if given.get("cron") is not None:
        now.pop("every_s", None)
    if given.get("every_s") is not None:
        now.pop("cron", None)
        now.pop("timezone", None)
    return schedule_from_json({**now, **given})


def _target(spec: _Fields, now: Target) -> Target:
    ref = spec.ref if "ref" in spec.model_fields_set else now.ref
    if "batch" not in spec.model_fields_set:
        return Target(ref=ref, batch=now.batch, finish_within_s=now.finish_within_s)
    if spec.batch is None:
        return Target(ref=ref)
    given = spec.batch.model_dump(exclude={"finish_within_s"})
    batch = {key: value for key, value in given.items() if value not in (None, {}, _BATCH_DEFAULTS.get(key))}
    return Target(ref=ref, batch=batch, finish_within_s=spec.batch.finish_within_s)


def _bound(option: str, text: str, ticks: Ticks) -> float:
    try:
        parse_moment(text)
    except ValueError:
        raise InvalidInput(
            f"`{option}` must be an ISO 8601 time such as '2026-03-01T02:00', got {text[:60]!r}"
        ) from None
    found = moment_s(text, ticks.zone)
    assert found is not None
    return found


def _document(platform: Platform, record: ScheduleRecord, count: int = 5) -> Json:
    target = record.target
    batch = None if target.batch is None else {**target.batch, "finish_within_s": target.finish_within_s}
    return {
        "id": record.id,
        "name": record.name,
        "namespace": record.namespace,
        "function": record.function,
        "ref": target.ref,
        "origin": record.origin.value,
        **(schedule_to_json(record.schedule) or {}),
        "batch": batch,
        "webhooks": list(record.webhook_ids),
        "paused": record.is_paused,
        "next": platform.schedules.coming(record, count),
        "created_at": moment(record.created_s),
        "updated_at": moment(record.updated_s),
    }


def _run(record: ScheduleRecord, run: RunRecord) -> Json:
    zone = Ticks(record.schedule).zone
    is_job = run.work_id is not None and run.work_id.startswith("job_")
    took_s = None if run.started_s is None or run.ended_s is None else run.ended_s - run.started_s
    return {
        "id": run.id,
        "kind": run.kind.value,
        "scheduled_time": shown(run.tick_s, zone),
        "until": shown(run.last_s, zone) if run.count > 1 else None,
        "ticks": run.count,
        "state": run.state.value,
        "reason": run.reason or None,
        "job": run.work_id if is_job else None,
        "batch": None if is_job else run.work_id,
        "started_at": moment(run.started_s),
        "ended_at": moment(run.ended_s),
        "took_s": took_s,
    }

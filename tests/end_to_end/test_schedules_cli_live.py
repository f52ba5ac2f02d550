"""`stoker schedules` and `stoker webhooks` as a user types them, against a real platform."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import pytest
from tests.support.running_platform import running_platform
from tests.support.served_platform import ServedPlatform
from tests.support.webhook_receiver import receiver


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlatform]:
    folder = tmp_path_factory.mktemp("cli") / "data"
    with running_platform(folder, {"webhooks_allowed_networks": "127.0.0.0/8"}) as running:
        running.deploy("echo", "def echo(text): return text")
        yield ServedPlatform(url=running.url, token=running.token, python=sys.executable, data_dir=folder, pid=0)


def asked(platform: ServedPlatform, *args: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(platform.cli(*args, "--json").stdout)
    return document


def test_a_schedule_from_its_making_to_its_end(platform: ServedPlatform) -> None:
    create = ("schedules", "create", "nightly", "echo", "--cron", "0 2 * * *", "--timezone", "Asia/Kolkata")
    made = asked(platform, *create, "text={{ scheduled_time:%d.%m. }}", "--overlap", "queue", "--jitter", "5m")
    assert (made["arguments"], made["overlap"], made["jitter_s"]) == (
        {"text": "{{ scheduled_time:%d.%m. }}"},
        "queue",
        300,
    )
    assert "nightly\techo\t0 2 * * * Asia/Kolkata" in platform.cli("schedules", "list").stdout
    platform.cli("schedules", "pause", "nightly")
    assert asked(platform, "schedules", "show", "nightly")["next"] == []
    platform.cli("schedules", "resume", "nightly")
    job = platform.cli("schedules", "run", "nightly").stdout.strip()
    assert platform.cli("jobs", "result", job).stdout.strip()[2] == "."
    span = ("--from", "2026-03-01", "--to", "2026-03-08")
    counted = asked(platform, "schedules", "backfill", "nightly", *span, "--dry-run")
    assert (counted["ticks"], counted["runs"], counted["first"]) == (7, 0, "2026-03-01T02:00:00+05:30")
    assert asked(platform, "schedules", "backfill", "nightly", *span)["runs"] == 7
    runs = asked(platform, "schedules", "history", "nightly")["runs"]
    assert isinstance(runs, list)
    assert [run["kind"] for run in runs] == ["backfill"] * 7 + ["manual"]
    platform.cli("schedules", "delete", "nightly")
    assert asked(platform, "schedules", "list")["schedules"] == []


async def test_a_webhook_from_its_making_to_its_end(platform: ServedPlatform) -> None:
    async with receiver() as found:

        def steps() -> None:
            secret = platform.cli("webhooks", "create", f"{found.url}/x", "--event", "job.failed").stdout.strip()
            assert secret.startswith("whsec_")
            (listed,) = asked(platform, "webhooks", "list")["webhooks"]  # type: ignore[misc]
            assert (listed["events"], "secret" in listed) == (["job.failed"], False)
            sent = platform.cli("webhooks", "test", listed["id"]).stdout.strip()
            assert platform.cli("webhooks", "rotate", listed["id"], "--overlap", "1h").stdout.strip() != secret
            while asked(platform, "webhooks", "deliveries", sent)["state"] != "delivered":
                pass
            assert sent in platform.cli("webhooks", "deliveries", listed["id"], "--state", "delivered").stdout
            platform.cli("webhooks", "redeliver", sent)
            platform.cli("webhooks", "enable", listed["id"], "--off")
            platform.cli("webhooks", "delete", listed["id"])
            assert asked(platform, "webhooks", "list")["webhooks"] == []

        await asyncio.to_thread(steps)
    assert found.messages[0].path == "/x"

"""``stoker serve``: the whole platform on this machine.

The rule that must not break: what it prints first is enough to make the first call.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Coroutine
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import click

from stoker.connection import data_dir as default_data_dir
from stoker_api.cli.reload import redeploying
from stoker_api.server import Started
from stoker_api.server import serve as run_platform
from stoker_api.settings import PlatformSettings, settings_from

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@click.command(
    epilog="Examples: stoker serve · stoker serve --port 0 --data-dir /srv/stoker · stoker serve --reload app.py"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where all state is kept [default: STOKER_DATA_DIR or ~/.stoker].",
)
@click.option("--no-auth", is_flag=True, help="Ask nobody for a token; on loopback only.")
@click.option("--reload", "reload_target", metavar="APP.PY", help="Deploy this file now and whenever it is saved.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="How much the platform says about itself, on standard error.",
)
def serve(
    host: str, port: int, data_dir: Path | None, no_auth: bool, reload_target: str | None, log_level: str
) -> None:
    """Run the platform until it gets SIGTERM or Ctrl-C; it then drains.

    The first start makes a token that commands on this machine find by themselves.
    """
    if reload_target is not None and not Path(reload_target.partition("::")[0]).is_file():
        raise click.BadParameter(f"{reload_target} is no file", param_hint="--reload")
    settings = settings_from(
        os.environ,
        default_data_dir() if data_dir is None else data_dir,
        {"host": host, "port": port, "is_open": no_auth, "log_level": log_level},
    )
    _log_to_stderr(log_level)
    beside = None if reload_target is None else partial(redeploying, target=reload_target)
    main = run_platform(settings, partial(_greet, settings), beside)
    _run(main)
    click.echo("Stopped.", err=True)


def _greet(settings: PlatformSettings, started: Started) -> None:
    click.echo(f"Stoker is ready: {started.url}")
    if settings.server.is_open:
        click.echo("No token is needed (--no-auth): everybody on this machine may deploy and call.")
    else:
        click.echo(f"The token is in {started.connection_file}; commands on this machine find it by themselves.")
    for problem in started.platform.pool.device_problems:
        logging.getLogger("stoker").info("device", extra={"problem": problem})
    where = "" if settings.data_dir == default_data_dir() else f"STOKER_DATA_DIR={settings.data_dir} "
    click.echo(f"Next: {where}stoker deploy app.py, then {where}stoker call NAME key=value. Ctrl-C drains and stops.")
    sys.stdout.flush()


def _run(main: Coroutine[None, None, None]) -> None:
    try:
        import uvloop
    except ImportError:  # no wheel for this interpreter: asyncio's own loop does it too
        asyncio.run(main)
    else:
        uvloop.run(main)


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Events())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn", "asyncio", "httpx"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


class _Events(logging.Formatter):
    """One JSON object per event, with its fields."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        event |= {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)

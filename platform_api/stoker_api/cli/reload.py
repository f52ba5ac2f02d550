"""``stoker serve --reload app.py``: deploys a file at the start and at every save.

The rule that must not break: the user's file is imported in a process of its own, never in the platform's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click

from stoker.connection import TOKEN, URL
from stoker_api.file_watch import saved
from stoker_api.server import Started


@contextlib.asynccontextmanager
async def redeploying(started: Started, target: str) -> AsyncIterator[None]:
    """Deploy ``target`` (``app.py`` or ``app.py::name``) now and at every save, while the block runs."""
    path = Path(target.partition("::")[0]).absolute()
    async with saved(path) as event:
        event.set()
        task = asyncio.ensure_future(_deploy_at(event, started, target, path))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()


async def _deploy_at(event: asyncio.Event, started: Started, target: str, path: Path) -> None:
    while True:
        await event.wait()
        event.clear()
        click.echo(f"Deploying {path.name} …", err=True)
        env = {**os.environ, URL: started.url, TOKEN: started.token}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stoker.cli.main", "deploy", target, env=env, stdin=asyncio.subprocess.DEVNULL
        )
        try:
            await process.wait()  # it says itself what it did, or why it did not
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

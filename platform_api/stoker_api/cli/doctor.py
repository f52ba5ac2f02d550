"""``stoker doctor``: looks at this machine and says what to fix.

The rule that must not break: it changes nothing, and every failed check comes with what to do.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from stoker.cli.output import is_terminal, styled
from stoker.connection import data_dir as default_data_dir
from stoker_api.machine_checks import Check, Verdict, check_machine

_MARKS = {Verdict.OK: ("ok", "green"), Verdict.WARNING: ("warn", "yellow"), Verdict.FAILED: ("FAIL", "bold red")}


@click.command(epilog="Examples: stoker doctor · stoker doctor --json | jq '.checks[] | select(.verdict != \"ok\")'")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="The port to look at.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="The data directory to look at.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(port: int, data_dir: Path | None, as_json: bool) -> None:
    """Check this machine and say what to fix. Ends with 1 where something keeps the platform from running."""
    checks = check_machine(default_data_dir() if data_dir is None else data_dir, port)
    if as_json:
        click.echo(json.dumps({"checks": [asdict(check) for check in checks]}, indent=2 if is_terminal() else None))
    else:
        for check in checks:
            _print(check)
    if any(check.verdict is Verdict.FAILED for check in checks):
        sys.exit(1)


def _print(check: Check) -> None:
    mark, colour = _MARKS[check.verdict]
    click.echo(f"{styled(f'{mark:<5}', colour)} {check.name:<16} {check.found}")
    if check.fix:
        click.echo(f"{'':<6}{'':<16} → {check.fix}")

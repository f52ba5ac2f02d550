"""``stoker simulate``: what a policy would have done with recorded traffic.

The rule that must not break: what is printed says under which conditions it holds, and a trace that was mended says so.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from stoker import routes
from stoker.cli.examples import examples
from stoker.cli.output import json_option, note, print_json, print_table
from stoker.cli.platform import platform
from stoker.errors import InvalidInput
from stoker.options import ADAPTIVE, WARMTHS, Scaling
from stoker_pool.forecast.pool_price import PoolGoal
from stoker_pool.simulation.capacity import SLOT_MIB, Capacity
from stoker_pool.simulation.export import save_chart, save_csv
from stoker_pool.simulation.policies import FAMILIES, PolicySpec, adaptive, adaptive_pool, adaptive_with, parse_policy
from stoker_pool.simulation.progress import progress_bar
from stoker_pool.simulation.results import Results
from stoker_pool.simulation.runs import Conditions, compare
from stoker_pool.simulation.sweep import swept
from stoker_pool.simulation.trace import Trace
from stoker_pool.simulation.trace_files import read_csv, read_trace

_POLICIES: Final = ("adaptive", "fixed:600", "hybrid-histogram", "knative")
_SLOT_POLICIES: Final = ("adaptive", "lru", "lfu", "greedy-dual", "belady")
_SECONDS: Final = click.FloatRange(0, 86_400)
_HOST_SPEEDUP: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What stood on the command line about room, prices and times."""

    slots: int | None
    memory_mib: int | None
    replica_mib: int
    host_slots: int
    load_time: float
    host_load_time: float | None
    least_away: float
    warm_up: float
    price: float | None
    target: float | None
    warmth: str | None
    pool_target: float | None
    idle_budget: float | None

    def conditions(self) -> Conditions:
        """The same for every policy."""
        if self.slots is not None and self.memory_mib is not None:
            raise click.UsageError("--slots and --memory-mib are two ways to say the same: give one")
        capacity = None
        if self.slots is not None or self.memory_mib is not None:
            slots = self.slots if self.slots is not None else (self.memory_mib or 0) // self.replica_mib
            if slots < 1:
                raise click.UsageError(f"--memory-mib {self.memory_mib} holds no replica of {self.replica_mib} MiB")
            host_load_s = self.load_time / _HOST_SPEEDUP if self.host_load_time is None else self.host_load_time
            capacity = Capacity.of_slots(
                slots, host_slots=self.host_slots, load_s=self.load_time, host_load_s=host_load_s
            )
        elif self.host_slots:
            raise click.UsageError("--host-slots needs --slots or --memory-mib: without them nothing ever leaves")
        return Conditions(
            load_s=self.load_time, least_away_s=self.least_away, warm_up_share=self.warm_up, capacity=capacity
        )

    def adaptive(self) -> PolicySpec | None:
        """What a plain ``--policy adaptive`` means; None: the default price."""
        goal = PoolGoal(cold_start_target=self.pool_target, idle_budget_s=self.idle_budget)
        given = [name for name in ("price", "target", "warmth") if getattr(self, name) is not None]
        given += ["pool-target" if self.pool_target is not None else "idle-budget"] if goal else []
        if len(given) > 1:
            raise click.UsageError(f"--{given[0]} and --{given[1]} are two ways to say the same: give one")
        if goal:
            named = (("pool-target", self.pool_target), ("idle-budget", self.idle_budget))
            said = ",".join(f"{name}={value:g}" for name, value in named if value is not None)
            return adaptive_pool(goal, f"adaptive:{said}")
        if self.price is not None:
            return adaptive(self.price)
        if self.target is not None:
            scaling = Scaling(keep_alive_s=ADAPTIVE, cold_start_target=self.target)
            return adaptive_with(scaling, f"adaptive:target={self.target:g}")
        if self.warmth is not None:
            scaling = Scaling(keep_alive_s=ADAPTIVE, warmth=self.warmth)  # type: ignore[arg-type]
            return adaptive_with(scaling, f"adaptive:{self.warmth}")
        return None


@click.command(
    epilog=examples(
        "stoker simulate --from-history",
        "stoker simulate --trace trace.csv --policy adaptive --policy fixed:600 --plot pareto.svg",
        "stoker simulate --trace trace.csv --slots 8 --host-slots 32 --load-time 20",
    )
)
@click.option("--trace", type=click.Path(path_type=Path), help="A trace: CSV (function,t,n,d) or .npz.")
@click.option("--from-history", is_flag=True, help="The platform's own record of its traffic.")
@click.option("--policy", "policies", multiple=True, metavar="NAME[:SETTING]", help=f"One of {', '.join(FAMILIES)}.")
@click.option("--slots", type=click.IntRange(1), help="Room for so many replicas; who leaves is then the question.")
@click.option("--memory-mib", type=click.IntRange(1), help="The same as memory, for replicas of --replica-mib.")
@click.option("--replica-mib", type=click.IntRange(1), default=SLOT_MIB, show_default=True, help="Memory of a replica.")
@click.option("--host-slots", type=click.IntRange(0), default=0, help="Host memory for so many that left the device.")
@click.option("--load-time", type=_SECONDS, default=0.0, show_default=True, help="Seconds that a start takes.")
@click.option("--host-load-time", type=_SECONDS, help="Seconds of a start from host memory [default: a tenth].")
@click.option("--least-away", type=_SECONDS, default=0.0, show_default=True, help="STOKER_POOL_LEAST_AWAY_S, seconds.")
@click.option("--price", type=click.FloatRange(0, min_open=True), help="Idle seconds that one cold start is worth.")
@click.option("--target", type=click.FloatRange(0, 1, min_open=True), help="Share of calls that may start cold.")
@click.option("--warmth", type=click.Choice(WARMTHS), help="The same in a word.")
@click.option("--pool-target", type=click.FloatRange(0, 1, min_open=True), help="The same with one price for all.")
@click.option("--idle-budget", type=click.FloatRange(0), help="Idle seconds per hour, of all functions together.")
@click.option("--warm-up", type=click.FloatRange(0, 0.95), default=0.4, show_default=True, help="Share not scored.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the table here.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw cold starts against waste (.svg, .png)."
)
@json_option
def simulate(
    trace: Path | None,
    from_history: bool,
    policies: tuple[str, ...],
    csv_file: Path | None,
    plot: Path | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Replay traffic through the platform's own decisions, and through published policies.

    The first part of the trace trains and is not scored. Waste is idle loaded time; a fixed keep-alive of ten minutes
    on the same trace is 1. With --plot every policy is replayed at several settings.
    """
    if (trace is None) != from_history:
        raise click.UsageError("give --trace FILE or --from-history")
    request = Asked(**asked)
    conditions = request.conditions()
    specs = _specs(policies or (_POLICIES if conditions.capacity is None else _SLOT_POLICIES), request)
    if plot is not None and plot.suffix not in (".svg", ".png"):
        raise click.UsageError(f"--plot must end in .svg or .png, got {plot.name!r}")
    replayed = _history() if trace is None else read_trace(trace)
    for warning in replayed.warnings:
        note(f"{replayed.source}: {warning}")
    wanted = swept(specs) if plot is not None else specs
    with progress_bar(len(wanted)) as on_progress:
        results = compare(replayed, wanted, conditions, on_progress)
    if csv_file is not None:
        save_csv(csv_file, results)
    if plot is not None:
        save_chart(plot, replayed.source, results)
    shown = [result for result in results if result.policy in {spec.label for spec in specs}]
    if as_json:
        print_json({"trace": _trace_document(replayed), "results": [dataclasses.asdict(result) for result in shown]})
        return
    note(_conditions_text(replayed, conditions))
    _print(shown, has_host=conditions.capacity is not None and request.host_slots > 0)


def _specs(policies: Sequence[str], request: Asked) -> list[PolicySpec]:
    own = request.adaptive()
    found = [own if text == "adaptive" and own is not None else parse_policy(text) for text in policies]
    return list({spec.label: spec for spec in found}.values())


def _history() -> Trace:
    with platform() as client:
        text = str(client.request(routes.history()))
    try:
        return read_csv(io.StringIO(text), "the platform's history")
    except InvalidInput as error:
        if "holds no call" not in error.detail:
            raise
        raise InvalidInput("the platform has recorded no call yet", hint="Call a function, then try again.") from error


def _trace_document(trace: Trace) -> dict[str, object]:
    return {
        "source": trace.source,
        "functions": len(trace.functions),
        "calls": trace.calls,
        "span_s": trace.span_s,
        "warnings": list(trace.warnings),
    }


def _conditions_text(trace: Trace, conditions: Conditions) -> str:
    room = conditions.capacity
    where = "" if room is None else f", room for {room.device_mib // room.replica_mib} replicas"
    behind = "" if room is None or not room.host_mib else f" and {room.host_mib // room.replica_mib} in host memory"
    return (
        f"{trace.source}: {len(trace.functions)} functions, {trace.calls} calls in {trace.span_s / 3600:.1f} h"
        f"{where}{behind}; a start takes {conditions.load_s:g} s; "
        f"scored after the first {100 * conditions.warm_up_share:g} %"
    )


def _print(results: Sequence[Results], *, has_host: bool) -> None:
    columns = ["policy", "cold %", "p50 fn %", "p75 fn %", "p99 fn %", "waste", "p99 start s", "loads"]
    columns += ["loaded h", "prewarms", "used"]
    if has_host:
        columns.insert(2, "from host %")
    rows = []
    for result in results:
        p50, p75, _, p99 = result.function_cold_shares
        row: list[object] = [
            result.policy,
            f"{100 * result.cold_share:.4g}",
            f"{100 * p50:.3g}",
            f"{100 * p75:.3g}",
            f"{100 * p99:.3g}",
            f"{result.waste:.3f}",
            f"{result.p99_start_s:.3g}",
            result.loads,
            f"{result.loaded_s / 3600:.1f}",
            result.prewarms,
            result.prewarms_used,
        ]
        if has_host:
            row.insert(2, f"{100 * result.host_starts / max(result.calls, 1):.4g}")
        rows.append(row)
    print_table(columns, rows)

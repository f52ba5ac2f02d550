"""What a user may say about a function: frozen values, checked the moment they are made.

The rule that must not break: a message names the option and the value it got, and every option carries its unit in
its name. These classes are the wire form too: ``spec.py`` writes and reads them as plain JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from stoker.errors import InvalidOption
from stoker.known_options import knows_its_options
from stoker.schedule import Cron, Every, Schedule
from stoker.warm_hours import checked_warm_hours

ADAPTIVE: Final = "adaptive"
WARMTHS: Final = ("frugal", "balanced", "eager")
PRICES: Final = ("cold_start_target", "warmth", "gpu_second_cost", "cold_start_cost")
"""Options of ``Scaling`` that say, each in its own words, how much idle time a cold start is worth."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NAME: Final = re.compile(r"^[a-z0-9]([a-z0-9-_]{0,61}[a-z0-9])?$")
_GPU: Final = re.compile(r"^(?P<model>[A-Za-z][A-Za-z0-9-]*)(:(?P<part>\d+g\.\d+gb|[1-9]\d*))?$")


@knows_its_options
@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How calls are grouped. The function then gets lists and returns a list of the same length."""

    max_batch_size: int = 32
    """Hard upper bound on items in one batch."""
    batch_timeout_ms: float = 0.0
    """Upper bound on waiting for mates. 0 never waits: batches fill while replicas are busy."""
    max_batch_cost: float | None = None
    """Hard upper bound on the summed cost of a batch (an item dearer than it runs alone)."""
    cost_fn: str | None = None
    """How an item's cost is found without decoding: ``"items"`` (1 each, the default) or ``"bytes"`` (body size)."""
    latency_target_ms: float | None = None
    """Form the largest batch whose predicted duration keeps within this."""
    isolate_errors: bool = True
    """Narrow an exception of a whole batch down to the bad items by running parts of it again."""

    def __post_init__(self) -> None:
        _whole("batch.max_batch_size", self.max_batch_size, least=1, most=4096)
        _number("batch.batch_timeout_ms", self.batch_timeout_ms, least=0, most=600_000)
        if self.max_batch_cost is not None:
            _number("batch.max_batch_cost", self.max_batch_cost, above=0)
        if self.cost_fn not in (None, "items", "bytes"):
            raise InvalidOption(f'batch.cost_fn must be "items" or "bytes", got {self.cost_fn!r}')
        if self.latency_target_ms is not None:
            _number("batch.latency_target_ms", self.latency_target_ms, above=0)
        _flag("batch.isolate_errors", self.isolate_errors)


@knows_its_options
@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How many replicas there may be, and for how long an idle one stays."""

    min_replicas: int = 0
    max_replicas: int = 4
    buffer_replicas: int = 0
    """Ready replicas kept above demand while there is any."""
    target_concurrency: float | None = None
    """Calls in flight a replica should carry; None derives it from ``concurrency`` and the batch."""
    keep_alive_s: float | Literal["adaptive"] = 60.0
    """Idle seconds before the last replicas drain, or ``"adaptive"``: when a call is expected, by what was learned."""
    cold_start_target: float | None = None
    """With ``"adaptive"``: the share of calls that may wait for a start, met with as little idle time as it takes."""
    warmth: Literal["frugal", "balanced", "eager"] | None = None
    """With ``"adaptive"``: how much idle time a cold start is worth, in a word; None is ``"balanced"``."""
    gpu_second_cost: float | None = None
    """With ``"adaptive"``: what a loaded second costs, in the same money as ``cold_start_cost``."""
    cold_start_cost: float | None = None
    """With ``"adaptive"``: what it costs that a call waits for a start."""
    prewarm_budget_s: float | None = None
    """Device seconds per hour that replicas started before any call may stand idle; None: no limit but the price."""
    warm: tuple[str, ...] = ()
    """Hours in which one is always ready, such as ``"Mon-Fri 09:00-18:00 Asia/Kolkata"``."""

    def __post_init__(self) -> None:
        _whole("scaling.min_replicas", self.min_replicas, least=0, most=1000)
        _whole("scaling.max_replicas", self.max_replicas, least=1, most=1000)
        _whole("scaling.buffer_replicas", self.buffer_replicas, least=0, most=1000)
        if self.min_replicas > self.max_replicas:
            raise InvalidOption(
                f"scaling.min_replicas must be <= max_replicas, got {self.min_replicas} > {self.max_replicas}"
            )
        if self.target_concurrency is not None:
            _number("scaling.target_concurrency", self.target_concurrency, above=0)
        if self.keep_alive_s != ADAPTIVE:
            if isinstance(self.keep_alive_s, str):
                raise InvalidOption(f'scaling.keep_alive_s must be seconds or "adaptive", got {self.keep_alive_s!r}')
            _number("scaling.keep_alive_s", self.keep_alive_s, least=0, most=30 * 86_400)
        self._check_prices()
        if self.prewarm_budget_s is not None:
            _number("scaling.prewarm_budget_s", self.prewarm_budget_s, least=0, most=1e9)
        object.__setattr__(self, "warm", checked_warm_hours("scaling.warm", self.warm))

    def _check_prices(self) -> None:
        if self.cold_start_target is not None:
            _number("scaling.cold_start_target", self.cold_start_target, above=0, most=1)
        if self.warmth is not None and self.warmth not in WARMTHS:
            raise InvalidOption(f"scaling.warmth must be one of {', '.join(WARMTHS)}, got {self.warmth!r}")
        for option in ("gpu_second_cost", "cold_start_cost"):
            if getattr(self, option) is not None:
                _number(f"scaling.{option}", getattr(self, option), above=0)
        if (self.gpu_second_cost is None) != (self.cold_start_cost is None):
            raise InvalidOption(
                "scaling.gpu_second_cost and scaling.cold_start_cost belong together, got "
                f"{self.gpu_second_cost!r} and {self.cold_start_cost!r}"
            )
        given = [name for name in PRICES if getattr(self, name) is not None]
        if given and self.keep_alive_s != ADAPTIVE:
            raise InvalidOption(
                f'scaling.{given[0]} needs keep_alive_s="adaptive", got keep_alive_s={self.keep_alive_s!r}',
                hint=f'Set keep_alive_s="adaptive", or leave out {given[0]}.',
            )
        if len({"cost" if name.endswith("_cost") else name for name in given}) > 1:
            raise InvalidOption(
                f"scaling takes one of cold_start_target, warmth, or the two costs, got {' and '.join(given)}"
            )


@knows_its_options
@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Runs again under the same invocation id after a lost worker, where ``idempotent`` allows it."""

    max_attempts: int = 3
    initial_delay_s: float = 0.0
    backoff: float = 2.0
    max_delay_s: float = 30.0
    on_function_error: bool = False
    """Also run again when user code raised."""

    def __post_init__(self) -> None:
        _whole("retries.max_attempts", self.max_attempts, least=1, most=100)
        _number("retries.initial_delay_s", self.initial_delay_s, least=0, most=3600)
        _number("retries.backoff", self.backoff, least=1, most=100)
        _number("retries.max_delay_s", self.max_delay_s, least=0, most=86_400)
        _flag("retries.on_function_error", self.on_function_error)


@dataclass(frozen=True, slots=True)
class GpuRequest:
    """One acceptable device shape. ``"A100"``, ``"A100:2"`` (two whole ones), ``"A100:1g.10gb"`` (a MIG slice)."""

    model: str
    count: int = 1
    mig_profile: str | None = None

    @classmethod
    def parse(cls, text: str) -> GpuRequest:
        """Read ``MODEL[:COUNT | :MIG_PROFILE]``; raises ``InvalidOption``."""
        match = _GPU.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidOption(
                f"gpu must look like 'A100', 'A100:2' or 'A100:1g.10gb', got {text!r}",
                hint="Name the GPU model, then optionally a count or a MIG profile after a colon.",
            )
        part = match["part"]
        if part is None:
            return cls(match["model"])
        return cls(match["model"], int(part)) if part.isdigit() else cls(match["model"], 1, part)

    def __str__(self) -> str:
        if self.mig_profile:
            return f"{self.model}:{self.mig_profile}"
        return self.model if self.count == 1 else f"{self.model}:{self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """A Python environment by content. Empty means the platform's own interpreter: nothing to build."""

    python_packages: tuple[str, ...] = ()
    """Requirement strings (PEP 508), installed with uv."""
    preload: tuple[str, ...] = ()
    """Modules that the zygote imports once."""
    env: tuple[tuple[str, str], ...] = ()
    """Set before the zygote imports anything."""
    files: tuple[str, ...] = ()
    """Local files or folders that travel in the bundle and stand in the worker's working folder."""

    def __post_init__(self) -> None:
        _variables("environment.env", self.env)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionOptions:
    """All that ``@stoker.function`` takes. Every field has a default that suits most."""

    name: str
    namespace: str = "default"
    environment: EnvironmentSpec = field(default_factory=EnvironmentSpec)
    gpu: tuple[GpuRequest, ...] = ()
    """Acceptable shapes in order of preference; empty = CPU."""
    cpu: float = 1.0
    """CPU cores granted to a replica: its thread pools are sized by it."""
    memory_mib: int | None = None
    """Declared memory of a replica; None = learned."""
    batch: Batch | None = None
    scaling: Scaling = field(default_factory=Scaling)
    concurrency: int = 1
    """Calls a replica runs at once (async functions on its loop, sync ones in threads if > 1)."""
    timeout_s: float = 300.0
    """Longest run of one call, once it is on a replica; then its worker is replaced."""
    startup_timeout_s: float = 300.0
    """Longest start of a replica."""
    retries: Retries = field(default_factory=Retries)
    max_queue_depth: int = 1024
    """Calls that may wait; one more is answered 429 at once."""
    secrets: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    warmup: object | None = None
    """An example input (what a call's JSON body would be), run before a replica counts as ready."""
    idempotent: bool = False
    """A call may run twice without harm, so a lost worker's calls are run again."""
    max_concurrent_jobs: int | None = None
    """Jobs of this function that may run at once, over all replicas; None: as many as keep every replica busy."""
    coalesce: bool = False
    """Identical calls in flight share one execution."""
    schedule: Schedule | None = None
    """When it runs without a caller."""

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_name("namespace", self.namespace)
        _number("cpu", self.cpu, above=0, most=1024)
        if self.memory_mib is not None:
            _whole("memory_mib", self.memory_mib, least=16, most=16_777_216)
        _whole("concurrency", self.concurrency, least=1, most=1000)
        _number("timeout_s", self.timeout_s, above=0, most=86_400)
        _number("startup_timeout_s", self.startup_timeout_s, above=0, most=86_400)
        _whole("max_queue_depth", self.max_queue_depth, least=1, most=1_000_000)
        _flag("idempotent", self.idempotent)
        if self.max_concurrent_jobs is not None:
            _whole("max_concurrent_jobs", self.max_concurrent_jobs, least=1, most=1_000_000)
        _flag("coalesce", self.coalesce)
        _variables("env", self.env)
        if self.schedule is not None and not isinstance(self.schedule, (Cron, Every)):
            raise InvalidOption(
                f"schedule must be stoker.Cron(...) or stoker.Every(...), got {self.schedule!r}",
                hint='Write schedule=stoker.Cron("0 2 * * *", timezone="Asia/Kolkata").',
            )
        if self.batch is not None and self.concurrency > 1:
            raise InvalidOption(
                f"concurrency must be 1 for a batched function, got {self.concurrency}",
                hint="A batch is already many calls at once; raise batch.max_batch_size instead.",
            )


def check_name(option: str, value: object) -> None:
    """A lower-case DNS-like label; raises ``InvalidOption``."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise InvalidOption(
            f"{option} must be 1 to 63 of a-z, 0-9, '-', '_', with a letter or digit at both ends, got {value!r}"
        )


def gpu_requests(gpu: str | Sequence[str] | None) -> tuple[GpuRequest, ...]:
    """Parse the ``gpu`` option: one string, a list in order of preference, or None."""
    if gpu is None:
        return ()
    if not isinstance(gpu, (str, list, tuple)):
        raise InvalidOption(f"gpu must be text, a list of texts or None, got {gpu!r}")
    texts = [gpu] if isinstance(gpu, str) else list(gpu)
    if not texts:
        raise InvalidOption("gpu must not be an empty list; use None for CPU")
    return tuple(GpuRequest.parse(text) for text in texts)


def string_pairs(option: str, value: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """A mapping of strings as sorted pairs; raises ``InvalidOption``."""
    for key, item in (value or {}).items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise InvalidOption(f"{option} must map strings to strings, got {key!r}: {item!r}")
    return tuple(sorted((value or {}).items()))


def _flag(option: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidOption(f"{option} must be true or false, got {value!r}")


def _variables(option: str, pairs: tuple[tuple[str, str], ...]) -> None:
    for name, value in pairs:
        if not _VARIABLE.fullmatch(name):
            raise InvalidOption(f"{option} must hold names of environment variables, got {name!r}")
        if "\0" in value or value != value.encode("utf-8", "ignore").decode():
            raise InvalidOption(f"{option} must hold values without NUL and surrogates, got {value!r} for {name!r}")


def _whole(option: str, value: object, *, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidOption(f"{option} must be a whole number from {least} to {most}, got {value!r}")


def _number(
    option: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
) -> None:
    is_number = type(value) is int or (isinstance(value, float) and math.isfinite(value))
    bound = f">= {least}" if least is not None else f"> {above}"
    if not is_number:
        raise InvalidOption(f"{option} must be a number {bound}, got {value!r}")
    assert isinstance(value, (int, float))
    if (least is not None and value < least) or (above is not None and value <= above):
        raise InvalidOption(f"{option} must be {bound}, got {value!r}")
    if most is not None and value > most:
        raise InvalidOption(f"{option} must be <= {most}, got {value!r}")

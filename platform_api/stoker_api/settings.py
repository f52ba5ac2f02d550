"""All settings of the platform, in groups, read once at the start.

The rule that must not break: this file alone turns environment variables into settings; an unknown or unreadable one
stops the start with its name.

A field of a group is set by ``STOKER_<GROUP>_<FIELD>``, e.g. ``STOKER_GATEWAY_MAX_BODY_BYTES=1048576``.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from stoker.errors import InvalidOption
from stoker_api.batches.settings import BatchSettings
from stoker_api.gateway.limits import GatewayLimits
from stoker_api.jobs.settings import JobSettings
from stoker_api.webhooks.settings import WebhookSettings
from stoker_pool.settings import PoolSettings

T = TypeVar("T")
_PREFIX: Final = "STOKER_"
_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The port and the process."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    is_open: bool = False
    """No token is asked for; on loopback only."""
    log_level: str = "info"
    drain_timeout_s: float = 30.0
    """How long calls in flight may take to end when the platform stops."""
    max_idle_zygotes: int = 4
    """Environments kept warm although no replica of theirs lives."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InvalidOption(f"port must be from 0 to 65535, got {self.port}")
        if self.drain_timeout_s < 0:
            raise InvalidOption(f"drain_timeout_s must be >= 0, got {self.drain_timeout_s}")
        if self.log_level not in _LEVELS:
            raise InvalidOption(f"log_level must be one of {', '.join(_LEVELS)}, got {self.log_level!r}")
        if self.is_open and not is_loopback(self.host):
            raise InvalidOption(
                f"--no-auth is allowed on loopback only, got --host {self.host}",
                hint="Leave out --no-auth, or use --host 127.0.0.1.",
            )


@dataclass(frozen=True, kw_only=True)
class PlatformSettings:
    """Everything that the composition root needs."""

    data_dir: Path
    server: ServerSettings = field(default_factory=ServerSettings)
    gateway: GatewayLimits = field(default_factory=GatewayLimits)
    pool: PoolSettings = field(default_factory=PoolSettings)
    jobs: JobSettings = field(default_factory=JobSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)


def settings_from(environ: Mapping[str, str], data_dir: Path, server: Mapping[str, object]) -> PlatformSettings:
    """The settings of one start: ``server`` (the command line) over the environment over the defaults."""
    return PlatformSettings(
        data_dir=data_dir,
        server=_group(ServerSettings, "SERVER", environ, server),
        gateway=_group(GatewayLimits, "GATEWAY", environ, {}),
        pool=_group(PoolSettings, "POOL", environ, {}),
        jobs=_group(JobSettings, "JOBS", environ, {}),
        batch=_group(BatchSettings, "BATCH", environ, {}),
        webhooks=_group(WebhookSettings, "WEBHOOKS", environ, {}),
    )


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _group(cls: type[T], group: str, environ: Mapping[str, str], given: Mapping[str, object]) -> T:
    prefix = f"{_PREFIX}{group}_"
    kinds = {spec.name: str(spec.type) for spec in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, object] = {}
    for variable, text in environ.items():
        if variable.startswith(prefix):
            name = variable.removeprefix(prefix).lower()
            if name not in kinds:
                raise InvalidOption(f"{variable} is no setting", hint=f"Known: {', '.join(sorted(kinds))}.")
            values[name] = _read(variable, text, kinds[name])
    values.update(given)
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        if isinstance(error, InvalidOption):
            raise
        raise InvalidOption(f"{prefix}…: {error}") from error


def _read(variable: str, text: str, kind: str) -> object:
    try:
        if kind.startswith("int"):
            return int(text)
        if kind.startswith("float"):
            return float(text)
    except ValueError:
        raise InvalidOption(f"{variable} must be a number, got {text!r}") from None
    if kind == "bool":
        if text.lower() not in ("1", "0", "true", "false"):
            raise InvalidOption(f"{variable} must be true or false, got {text!r}")
        return text.lower() in ("1", "true")
    return text

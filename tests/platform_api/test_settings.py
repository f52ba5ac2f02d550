"""Settings: read once, checked by name, and never open to the world without tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import InvalidOption
from stoker_api.settings import ServerSettings, is_loopback, settings_from

HERE = Path("data")


def test_the_command_line_goes_before_the_environment() -> None:
    environ = {"STOKER_SERVER_PORT": "9", "STOKER_SERVER_DRAIN_TIMEOUT_S": "1.5", "STOKER_POOL_MEMORY_SAMPLE_S": "2"}
    settings = settings_from(environ, HERE, {"port": 7})
    assert (settings.server.port, settings.server.drain_timeout_s) == (7, 1.5)
    assert settings.pool.memory_sample_s == 2.0


def test_a_limit_of_the_gateway_is_set_by_its_name() -> None:
    assert settings_from({"STOKER_GATEWAY_MAX_BODY_BYTES": "10"}, HERE, {}).gateway.max_body_bytes == 10


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("STOKER_GATEWAY_MAX_BODY", "10"),
        ("STOKER_GATEWAY_MAX_BODY_BYTES", "many"),
        ("STOKER_GATEWAY_MAX_BODY_BYTES", "-1"),
        ("STOKER_SERVER_IS_OPEN", "maybe"),
        ("STOKER_SERVER_LOG_LEVEL", "loud"),
        ("STOKER_POOL_COLD_START_TARGET", "0"),
        ("STOKER_POOL_COLD_START_TARGET", "1.5"),
        ("STOKER_POOL_IDLE_BUDGET_S", "-1"),
        ("STOKER_POOL_IDLE_BUDGET_S", "inf"),
        ("STOKER_POOL_IDLE_BUDGET_S", "nan"),
    ],
)
def test_what_cannot_be_read_stops_the_start_with_its_name(variable: str, text: str) -> None:
    with pytest.raises(InvalidOption):
        settings_from({variable: text}, HERE, {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_may_be_open(host: str) -> None:
    assert is_loopback(host)
    assert ServerSettings(host=host, is_open=True).is_open


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_nothing_else_may_be_open(host: str) -> None:
    with pytest.raises(InvalidOption, match="loopback"):
        ServerSettings(host=host, is_open=True)

"""``stoker logs``: all revisions, or the one that is named, read or followed."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from tests.support.fake_platform import Reply, Request, fake_platform

from stoker.cli.main import main

EVENT = b'data: {"replica": "f-3-abc", "invocation": "1", "stream": "stdout", "line": "hello"}\n\n'


def answer(request: Request) -> Reply:
    return Reply(EVENT, content_type="text/event-stream")


def test_one_revision_can_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_platform(answer) as platform:
        monkeypatch.setenv("STOKER_URL", platform.url)
        monkeypatch.setenv("STOKER_TOKEN", "token")
        result = CliRunner().invoke(main, ["logs", "-f", "f@3"])
    assert (result.exit_code, "hello" in result.stdout) == (0, True)
    (request,) = platform.requests
    assert {"follow=true", "revision=3"} <= set(request.path.partition("?")[2].split("&"))

"""Runs `stoker ARGS` inside the test's process, against a platform of a test's own, and hands back what was said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from stoker.cli.main import main
from tests.support.fake_platform import FakePlatform, Reply, Request, fake_platform, json_reply

Answers = Callable[[Request], Reply]


class Shell:
    """A shell that knows one platform."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self._env = {"STOKER_URL": url, "STOKER_TOKEN": "t0ken", "STOKER_DATA_DIR": str(data_dir)}

    def __call__(self, *args: str, stdin: str | bytes | None = None, code: int = 0) -> Result:
        """Run it; fails the test where it does not end with ``code``."""
        result = CliRunner().invoke(main, args, input=stdin, env=self._env)
        assert result.exit_code == code, f"ended with {result.exit_code}:\n{result.output}\n{result.exception!r}"
        return result


@contextmanager
def shell_with(answers: Answers | object, data_dir: Path) -> Iterator[tuple[Shell, FakePlatform]]:
    """A shell whose platform answers by a function, or always the same document."""
    answer: Answers = answers if callable(answers) else lambda _request: json_reply(answers)
    with fake_platform(answer) as platform:
        yield Shell(platform.url, data_dir), platform


def problem(code: str, status: int, **members: object) -> Reply:
    """A problem document as the platform writes it."""
    return json_reply(
        {"type": f"urn:stoker:{code}", "title": code, "status": status, "detail": f"it is {code}", "code": code}
        | members,
        status,
    )


def sent(platform: FakePlatform, index: int = -1) -> tuple[str, str, Any]:
    """Verb, path and JSON body of a request."""
    request = platform.requests[index]
    return request.verb, request.path, json.loads(request.body) if request.body else None

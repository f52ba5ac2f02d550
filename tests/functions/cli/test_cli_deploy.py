"""`stoker deploy`: every function of a file, one of it, under its own name or another."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli_runs import problem, shell_with
from tests.support.fake_platform import Reply, Request, json_reply

APP = """
import stoker
from cli_deploy_other import imported

@stoker.function
def first(x: int):
    return x

@stoker.function(name="the-second")
def second(x: int):
    return x

alias_of_first = first
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file with two functions and an imported third."""
    (tmp_path / "cli_deploy_app.py").write_text(APP)
    (tmp_path / "cli_deploy_other.py").write_text("import stoker\n@stoker.function\ndef imported(): return 1\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path / "cli_deploy_app.py"
    for name in ("cli_deploy_app", "cli_deploy_other"):
        sys.modules.pop(name, None)


def register(request: Request) -> Reply:
    """Answers a registration as the platform does."""
    spec = spec_of(request)
    answer = {"name": spec["name"], "namespace": spec["namespace"], "revision": 1, "url": f"http://h/f/{spec['name']}"}
    return json_reply({**answer, "created": spec["name"] == "first", "warnings": [{"message": "slow"}]}, 201)


def spec_of(request: Request) -> dict[str, object]:
    found = re.search(rb'name="spec"\r\n\r\n(.*?)\r\n--', request.body, re.DOTALL)
    assert found is not None
    spec: dict[str, object] = json.loads(found[1])
    return spec


def test_a_file_deploys_every_function_that_it_defines_once(app: Path, tmp_path: Path) -> None:
    with shell_with(register, tmp_path) as (stoker, platform):
        result = stoker("deploy", str(app))
        assert [spec_of(request)["name"] for request in platform.requests] == ["first", "the-second"]
    assert result.stdout == "first\t1\tcreated\thttp://h/f/first\nthe-second\t1\tunchanged\thttp://h/f/the-second\n"
    assert "warning: first: slow" in result.stderr


@pytest.mark.parametrize("name", ["second", "the-second"], ids=["variable", "name"])
def test_one_function_is_named_by_variable_or_name(name: str, app: Path, tmp_path: Path) -> None:
    with shell_with(register, tmp_path) as (stoker, platform):
        printed = json.loads(stoker("deploy", f"{app}::{name}", "--json", "--no-dry-run").stdout)
        assert printed["functions"][0]["name"] == "the-second"
        assert "dry_run=false" in platform.requests[0].path


def test_name_and_namespace_can_be_given_anew(app: Path, tmp_path: Path) -> None:
    with shell_with(register, tmp_path) as (stoker, platform):
        stoker("deploy", f"{app}::first", "--name", "copy", "-n", "team-a")
        assert spec_of(platform.requests[0])["name"] == "copy"
        assert spec_of(platform.requests[0])["namespace"] == "team-a"
        assert "--name fits one function" in stoker("deploy", str(app), "--name", "copy", code=2).stderr


def test_what_is_refused_here_is_never_sent(tmp_path: Path) -> None:
    path = tmp_path / "cli_deploy_bad.py"
    path.write_text("import stoker, threading\nlock = threading.Lock()\n@stoker.function\ndef f():\n    return lock\n")
    with shell_with(register, tmp_path) as (stoker, platform):
        assert "lock" in stoker("deploy", str(path), code=7).stderr
        assert platform.requests == []
    sys.modules.pop("cli_deploy_bad", None)


def test_what_the_platform_refuses_ends_with_7(app: Path, tmp_path: Path) -> None:
    with shell_with(lambda _: problem("preflight_failed", 422), tmp_path) as (stoker, _):
        stoker("deploy", f"{app}::first", code=7)


def test_those_deployed_before_a_refused_one_are_printed(app: Path, tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        return register(request) if spec_of(request)["name"] == "first" else problem("preflight_failed", 422)

    with shell_with(answer, tmp_path) as (stoker, _):
        assert stoker("deploy", str(app), code=7).stdout == "first\t1\tcreated\thttp://h/f/first\n"


def test_a_file_without_functions_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "cli_deploy_empty.py"
    path.write_text("x = 1\n")
    with shell_with(register, tmp_path) as (stoker, _):
        assert "@stoker.function" in stoker("deploy", str(path), code=2).stderr
    sys.modules.pop("cli_deploy_empty", None)

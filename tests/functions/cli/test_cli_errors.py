"""How `stoker` fails: an exit code that tells a script what to do, and a message that tells a person."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.support.cli_runs import Shell, problem, shell_with
from tests.support.fake_platform import Reply

from stoker.cli.main import SECTIONS, main


@pytest.mark.parametrize(
    ("code", "status", "members", "exit_code"),
    [
        ("function_error", 500, {}, 1),
        ("worker_lost", 502, {}, 1),
        ("crash_looping", 503, {}, 1),
        ("deadline_exceeded", 504, {"phase": "execute"}, 1),
        ("invalid_arguments", 422, {}, 2),
        ("payload_too_large", 413, {}, 2),
        ("not_found", 404, {}, 3),
        ("unauthorized", 401, {}, 4),
        ("forbidden", 403, {}, 4),
        ("overloaded", 429, {"retryable": True}, 6),
        ("not_ready", 503, {"retryable": True}, 6),
        ("deadline_exceeded", 504, {"phase": "queue", "retryable": True}, 6),
        ("preflight_failed", 422, {}, 7),
        ("environment_build_failed", 422, {}, 7),
        ("conflict", 409, {}, 7),
    ],
)
def test_the_exit_code_says_what_a_script_should_do(
    code: str, status: int, members: dict[str, object], exit_code: int, tmp_path: Path
) -> None:
    with shell_with(lambda _: problem(code, status, **members), tmp_path) as (stoker, _):
        assert f"it is {code}" in stoker("call", "double", "x=1", code=exit_code).stderr


def test_management_fails_with_the_same_codes(tmp_path: Path) -> None:
    with shell_with(lambda _: problem("not_found", 404, hint="Look again."), tmp_path) as (stoker, _):
        result = stoker("describe", "double", code=3)
        assert result.stdout == ""
        assert "error: it is not_found\nhint: Look again.\n" in result.stderr


def test_no_answer_says_how_to_start_a_platform(tmp_path: Path) -> None:
    result = Shell("http://127.0.0.1:9", tmp_path)("list", code=5)
    assert "stoker serve" in result.stderr


def test_no_known_platform_says_how_to_start_one(tmp_path: Path) -> None:
    result = Shell("", tmp_path)("call", "double", "x=1", code=5)
    assert "stoker serve" in result.stderr


def test_a_remote_traceback_is_shown(tmp_path: Path) -> None:
    trace = 'Traceback (most recent call last):\n  File "app.py", line 9, in boom\nValueError: bad 3'
    answer = problem("function_error", 500, detail="builtins.ValueError: bad 3", traceback=trace)
    with shell_with(lambda _: answer, tmp_path) as (stoker, _):
        stderr = stoker("call", "boom", "x=3", code=1).stderr
    assert stderr == f"{trace}\nerror: ValueError: bad 3\n"


def test_findings_and_log_tails_are_shown(tmp_path: Path) -> None:
    answer = problem(
        "preflight_failed",
        422,
        findings=[{"code": "missing_package", "message": "imports numpy", "fix": "add it"}],
        log_tail="last words",
    )
    with shell_with(lambda _: answer, tmp_path) as (stoker, _):
        stderr = stoker("warmup", "double", code=7).stderr
    assert "imports numpy" in stderr
    assert "fix: add it" in stderr


def test_only_what_did_not_run_is_called_safe_to_try_again(tmp_path: Path) -> None:
    ran = problem("deadline_exceeded", 504, phase="execute", retryable=True)
    with shell_with(lambda _: ran, tmp_path) as (stoker, _):
        assert "safe" not in stoker("call", "double", code=1).stderr
    with shell_with(lambda _: problem("overloaded", 429, retryable=True), tmp_path) as (stoker, _):
        assert "safe" in stoker("call", "double", code=6).stderr


def test_text_that_was_read_as_json_says_how_to_quote_it(tmp_path: Path) -> None:
    errors = [{"path": "text", "message": "Input should be a valid string"}]
    answer = problem("invalid_arguments", 422, detail="text: Input should be a valid string", errors=errors)
    with shell_with(lambda _: answer, tmp_path) as (stoker, _):
        stderr = stoker("call", "echo", "text=123", code=2).stderr
    assert """name='"123"'""" in stderr
    assert stderr.count("Input should be a valid string") == 1


def test_with_json_the_problem_is_json_too(tmp_path: Path) -> None:
    with shell_with(lambda _: problem("overloaded", 429, retryable=True), tmp_path) as (stoker, _):
        result = stoker("call", "double", "x=1", "--json", code=6)
    assert json.loads(result.stderr)["code"] == "overloaded"


def test_an_answer_that_is_no_problem_document_still_has_its_status(tmp_path: Path) -> None:
    with shell_with(lambda _: Reply(b"<h1>Bad gateway</h1>", 502, {}, "text/html"), tmp_path) as (stoker, _):
        assert "502" in stoker("list", code=1).stderr


def test_an_unknown_command_names_the_ones_it_resembles(tmp_path: Path) -> None:
    assert "Did you mean 'deploy'" in Shell("", tmp_path)("depoly", code=2).stderr


@pytest.mark.parametrize(
    "name", [name for section in SECTIONS.values() for name, (where, _) in section.items() if where]
)
def test_every_command_says_the_same_in_both_helps_and_has_an_example(name: str) -> None:
    context = click.Context(main)
    command = main.get_command(context, name)
    assert command is not None
    leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    assert all(f"stoker {name}" in (leaf.epilog or "") for leaf in leaves)
    assert all(any("--json" in item.opts for item in leaf.params) for leaf in leaves if name != "completion")


def test_help_imports_no_command_and_no_web_stack() -> None:
    code = (
        "import sys\nfrom stoker.cli.main import main\nmain(['--help'], standalone_mode=False)\n"
        "heavy = {'httpx', 'rich', 'pydantic', 'fastapi', 'uvicorn', 'stoker.cli.call', 'stoker_api'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_calls_back(shell: str, tmp_path: Path) -> None:
    assert f"_STOKER_COMPLETE={shell}_complete" in Shell("", tmp_path)("completion", shell).stdout

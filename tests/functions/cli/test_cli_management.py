"""The commands that list, describe, roll out, scale and keep tokens and secrets: what they ask, what they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.cli_runs import sent, shell_with
from tests.support.fake_platform import Reply, Request, json_reply

FUNCTION = {
    "name": "embed",
    "namespace": "default",
    "url": "http://h/f/embed",
    "state": "crash_looping",
    "revisions": [
        {"revision": 1, "created_at": "2026-01-01", "handler": "Embed", "bundle_sha256": "ab" * 32, "options": {}},
        {"revision": 2, "created_at": "2026-01-02", "handler": "Embed", "bundle_sha256": "cd" * 32, "options": {}},
    ],
    "aliases": {"latest": {"2": 1}, "prod": {"1": 90, "2": 10}},
    "replicas": [{"id": "r1", "state": "ready", "revision": 2, "device": "cpu", "pid": 7, "memory_bytes": 3 << 20}],
    "stats": {"calls": 9, "p50_ms": 1.23456, "batch": {"mean": 2.5, "max": 4}},
    "schema": {"properties": {"text": {"type": "string"}}},
    "scaling": {"min_replicas": 0, "is_override": True},
    "breaker": {"revision": 2, "failures": 3, "reason": "no module torch", "log_tail": "Traceback\nImportError"},
}


def test_list_prints_one_function_a_line(tmp_path: Path) -> None:
    row = {"name": "embed", "namespace": "team-a", "revision": 2, "state": "ready", "replicas": 1, "url": "http://h/f"}
    row["aliases"] = {"latest": {"2": 1}, "prod": {"1": 1}}
    with shell_with({"functions": [row]}, tmp_path) as (stoker, platform):
        assert stoker("list", "-n", "team-a").stdout == "team-a/embed\t2\tready\t1\tprod=1\thttp://h/f\n"
        assert sent(platform)[:2] == ("GET", "/v1/functions?namespace=team-a")
        assert json.loads(stoker("list", "--json").stdout) == {"functions": [row]}


def test_an_empty_list_says_what_to_do_beside_the_answer(tmp_path: Path) -> None:
    with shell_with({"functions": []}, tmp_path) as (stoker, _):
        result = stoker("list")
        assert result.stdout == ""
        assert "stoker deploy app.py" in result.stderr


def test_describe_says_why_a_function_does_not_start(tmp_path: Path) -> None:
    with shell_with(FUNCTION, tmp_path) as (stoker, _):
        printed = stoker("describe", "embed").stdout
        assert "no module torch" in printed
        assert "ImportError" in printed
        assert "aliases\tprod=1:90,2:10\n" in printed
        assert "input\ttext: string\n" in printed
        assert "scaling\tmin_replicas=0 (set at run time)\n" in printed
        assert json.loads(stoker("describe", "embed", "--json").stdout) == FUNCTION


def test_describe_says_why_a_function_is_warm_and_what_that_came_to(tmp_path: Path) -> None:
    forecast = {
        "adaptive": True,
        "status": "learned from 40 gaps between calls",
        "off": False,
        "price_s": 1800.0,
        "price_from": "one price for all, at most 1 % of calls cold",
        "load_s": 3.0,
        "expected_calls_per_hour": [12.0, 0.5],
        "windows": [{"source": "job 7", "start": "2026-01-01T00:00:00+00:00", "end": None}],
        "why_warm": ["job 7"],
        "cold_starts": [{"at": "2026-01-01T00:00:00+00:00", "took_s": 2.5}],
        "prewarms": {"used": 3, "wasted": 1, "wait_s": 100.0, "wasted_s": 40.0, "budget_left_s": None},
        "device_time": {
            "since": "2026-01-01T00:00:00+00:00",
            "loaded_s": 7300.0,
            "saved_against_always_on_s": 300_000.0,
            "saved_against_10_minutes_s": -600.0,
        },
    }
    with shell_with({**FUNCTION, "forecast": forecast}, tmp_path) as (stoker, _):
        printed = stoker("describe", "embed").stdout
    assert "warm because\tjob 7\n" in printed
    assert "learned from 40 gaps between calls; a cold start is worth 30 min of idle time (one" in printed
    assert "expected calls per hour\t12 0.5\n" in printed
    assert "loaded in\t2026-01-01T00:00:00+00:00 to no end (job 7)\n" in printed
    assert "prewarms\t3 used, 1 wasted (40 s of device time)\n" in printed
    assert "2 h 2 min loaded" in printed
    assert "saved 3 d 11 h against always on, -10 min against a keep-alive of 10 minutes" in printed


def test_describe_says_that_a_forecast_is_turned_off(tmp_path: Path) -> None:
    forecast = {"adaptive": True, "status": "", "off": True, "price_s": 300.0, "expected_calls_per_hour": []}
    with shell_with({**FUNCTION, "forecast": forecast}, tmp_path) as (stoker, _):
        assert "turned off: a plain keep-alive does better" in stoker("describe", "embed").stdout
        assert json.loads(stoker("describe", "embed", "--json").stdout)["forecast"]["off"] is True


def test_history_has_the_newest_revision_first(tmp_path: Path) -> None:
    with shell_with(FUNCTION, tmp_path) as (stoker, _):
        lines = [line.split("\t") for line in stoker("history", "embed").stdout.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [("2", "latest,prod"), ("1", "prod")]


ALIAS = {"alias": "prod", "weights": {"3": 1}, "revision": 3}


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        (["promote", "embed"], ("POST", "/v1/functions/embed/promote?namespace=default", {"alias": "prod"})),
        (
            ["promote", "t/embed@3", "--alias", "eu"],
            ("POST", "/v1/functions/embed/promote?namespace=t", {"alias": "eu", "revision": 3}),
        ),
        (
            ["promote", "embed@staging"],
            ("POST", "/v1/functions/embed/promote?namespace=default", {"alias": "prod", "from_alias": "staging"}),
        ),
        (["rollback", "embed"], ("POST", "/v1/functions/embed/rollback?namespace=default", {})),
        (
            ["rollback", "embed", "--to", "1", "--alias", "prod"],
            ("POST", "/v1/functions/embed/rollback?namespace=default", {"revision": 1, "alias": "prod"}),
        ),
        (
            ["alias", "set", "embed", "prod=3"],
            ("PUT", "/v1/functions/embed/aliases/prod?namespace=default", {"revision": 3}),
        ),
        (
            ["alias", "set", "embed", "prod=2:90,3:10"],
            ("PUT", "/v1/functions/embed/aliases/prod?namespace=default", {"weights": {"2": 90, "3": 10}}),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_roll_out_commands_ask_for_what_they_say(args: list[str], asked: object, tmp_path: Path) -> None:
    with shell_with(ALIAS, tmp_path) as (stoker, platform):
        assert stoker(*args).stdout.endswith("embed@prod → 3\n")
        assert sent(platform) == asked


@pytest.mark.parametrize("text", ["prod", "prod=", "=3", "prod=a", "prod=2:90,3", "prod=2:1,2:1"])
def test_a_wrong_assignment_is_refused(text: str, tmp_path: Path) -> None:
    with shell_with(ALIAS, tmp_path) as (stoker, platform):
        stoker("alias", "set", "embed", text, code=2)
        assert platform.requests == []


def test_scale_sends_only_what_was_named(tmp_path: Path) -> None:
    with shell_with({"min_replicas": 1, "keep_alive_s": "adaptive"}, tmp_path) as (stoker, platform):
        printed = stoker("scale", "embed", "--min", "1", "--keep-alive-s", "adaptive").stdout
        assert printed == "min replicas\t1\nkeep alive s\tadaptive\n"
        body = {"min_replicas": 1, "keep_alive_s": "adaptive"}
        assert sent(platform) == ("PUT", "/v1/functions/embed/scaling?namespace=default", body)
        stoker("scale", "embed", "--reset")
        assert sent(platform)[0] == "DELETE"
        assert "adaptive" in stoker("scale", "embed", "--keep-alive-s", "long", code=2).stderr


def test_scale_takes_hours_and_what_a_cold_start_is_worth(tmp_path: Path) -> None:
    office = "Mon-Fri 09:00-18:00 Asia/Kolkata"
    with shell_with({"warm": [office, "22:00-06:00"], "warmth": None}, tmp_path) as (stoker, platform):
        printed = stoker("scale", "embed", "--warm", office, "--warm", "22:00-06:00", "--warmth", "eager").stdout
        assert f"warm\t{office}, 22:00-06:00\n" in printed
        assert sent(platform)[2] == {"warm": [office, "22:00-06:00"], "warmth": "eager"}
        stoker("scale", "embed", "--warm", "none")
        assert sent(platform)[2] == {"warm": []}
        refused = stoker("scale", "embed", "--warm", "office hours", code=2).stderr
        assert "names no hours" in refused
        assert "Asia/Kolkata" in refused
        stoker("scale", "embed", "--warm", "none", "--warm", office, code=2)
        stoker("scale", "embed", "--warmth", "hot", code=2)


def test_warmup_says_how_long_it_took(tmp_path: Path) -> None:
    with shell_with({"replicas": 2, "took_ms": 12.34}, tmp_path) as (stoker, platform):
        assert stoker("warmup", "embed", "--replicas", "2").stdout == "replicas\t2\ntook ms\t12.3\n"
        assert sent(platform)[2] == {"replicas": 2}


def test_nothing_is_deleted_without_a_yes(tmp_path: Path) -> None:
    with shell_with({"deleted": True}, tmp_path) as (stoker, platform):
        stoker("delete", "embed", stdin="n\n", code=1)
        assert platform.requests == []
        stoker("delete", "embed", stdin="y\n")
        assert sent(platform)[:2] == ("DELETE", "/v1/functions/embed?namespace=default")
        stoker("delete", "embed@3", "--yes", "--force")
        assert sent(platform)[:2] == ("DELETE", "/v1/functions/embed/revisions/3?namespace=default&force=true")
        stoker("delete", "embed@prod", "--yes", code=2)


def test_logs_print_each_line_with_where_it_came_from(tmp_path: Path) -> None:
    entry = {"time": "2026-01-01T00:00:00Z", "replica": "r1", "invocation": "i9", "stream": "stdout", "line": "hello"}
    with shell_with(lambda _: Reply(json.dumps(entry).encode() + b"\n", 200, {}, "text/plain"), tmp_path) as (
        stoker,
        p,
    ):
        assert stoker("logs", "embed@2", "--lines", "5").stdout == "r1 i9  hello\n"
        assert "lines=5&revision=2" in p.requests[0].path
        assert stoker("logs", "embed", "-t").stdout == "2026-01-01T00:00:00Z r1 i9  hello\n"
        assert json.loads(stoker("logs", "embed", "--json").stdout) == entry


def test_followed_logs_print_events_until_the_end(tmp_path: Path) -> None:
    text = b'data: {"replica": "r1", "line": "a"}\n\ndata: {"replica": "r1", "line": "b"}\n\n'
    with shell_with(lambda _: Reply(text, 200, {}, "text/event-stream"), tmp_path) as (stoker, platform):
        assert stoker("logs", "-f", "embed").stdout == "r1  a\nr1  b\n"
        assert "follow=true" in platform.requests[0].path


def test_ps_prints_one_replica_a_line_in_a_pipe(tmp_path: Path) -> None:
    pool = {"devices": [{"name": "cpu", "kind": "cpu"}], "replicas": [{"name": "embed", **FUNCTION["replicas"][0]}]}
    with shell_with(pool, tmp_path) as (stoker, _):
        assert stoker("ps").stdout.split("\t")[:3] == ["embed", "r1", "ready"]
        assert json.loads(stoker("ps", "--json").stdout) == pool


def test_a_new_token_is_all_that_stands_on_standard_output(tmp_path: Path) -> None:
    with shell_with({"id": "3f", "token": "stk_x"}, tmp_path) as (stoker, platform):
        args = ["token", "create", "ci", "--scope", "deploy", "-n", "team-a", "--expires-in", "2d"]
        assert stoker(*args).stdout == "stk_x\n"
        body = {"name": "ci", "scopes": ["deploy"], "namespaces": ["team-a"], "expires_in_s": 172_800.0}
        assert sent(platform) == ("POST", "/v1/tokens", body)
        assert "no duration" in stoker("token", "create", "ci", "--expires-in", "soon", code=2).stderr


def test_tokens_are_listed_and_revoked(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        rows = [{"id": "3f", "name": "ci", "scopes": ["deploy", "invoke"], "namespaces": None, "created_at": "now"}]
        return json_reply({"tokens": rows} if request.verb == "GET" else {"deleted": True})

    with shell_with(answer, tmp_path) as (stoker, platform):
        assert stoker("token", "list").stdout == "3f\tci\tdeploy,invoke\t*\tnow\t\n"
        stoker("token", "revoke", "3f")
        assert sent(platform)[:2] == ("DELETE", "/v1/tokens/3f")


def test_a_secret_comes_from_standard_input_or_a_file_only(tmp_path: Path) -> None:
    with shell_with({"name": "HF"}, tmp_path) as (stoker, platform):
        stoker("secret", "set", "HF", stdin="v4lue\n")
        assert sent(platform) == ("PUT", "/v1/secrets/HF?namespace=default", {"value": "v4lue"})
        (tmp_path / "cert").write_text("line 1\nline 2\n")
        stoker("secret", "set", "HF", "--from-file", str(tmp_path / "cert"))
        assert sent(platform)[2] == {"value": "line 1\nline 2\n"}
        stoker("secret", "set", "HF", "v4lue", code=2)
        stoker("secret", "set", "HF", stdin="", code=2)


def test_secrets_are_listed_by_name_and_deleted(tmp_path: Path) -> None:
    with shell_with({"secrets": [{"name": "HF", "updated_at": "now"}]}, tmp_path) as (stoker, platform):
        assert stoker("secret", "list").stdout == "HF\tnow\n"
        stoker("secret", "delete", "HF", stdin="n\n", code=1)
        stoker("secret", "delete", "HF", "-y")
        assert sent(platform)[0] == "DELETE"


def test_an_environment_is_built_of_packages_or_of_a_target(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# ours\nnumpy>=2  # arrays\n\n")
    app = tmp_path / "cli_env_app.py"
    app.write_text(
        "import stoker\n@stoker.function(environment=stoker.Environment(python_packages=['six']))\ndef f(): return 1\n"
    )
    with shell_with({"digest": "ab12", "state": "built", "size_bytes": 1024}, tmp_path) as (stoker, platform):
        printed = stoker("env", "build", "-r", str(requirements), "--package", "six", "--preload", "six").stdout
        assert printed == "digest\tab12\nstate\tbuilt\nsize\t1.0 KiB\n"
        assert sent(platform)[2] == {"python_packages": ["six", "numpy>=2"], "preload": ["six"]}
        stoker("env", "build", str(app))
        assert sent(platform)[2] == {"python_packages": ["six"], "preload": [], "env": {}}
        stoker("env", "build", code=2)
        stoker("env", "build", str(app), "--package", "six", code=2)

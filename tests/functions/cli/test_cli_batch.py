"""``stoker batch``: what is asked of the platform, and what a person reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli_runs import sent, shell_with
from tests.support.fake_platform import Reply, Request, json_reply

from stoker.batch_bar import line_of, span

PROGRESS: dict[str, Any] = {
    "done": 12_000,
    "failed": 3,
    "committed": 10_000,
    "in_flight": 64,
    "total": 100_000,
    "is_total_exact": False,
    "rate_per_s": 850.4,
    "eta_s": 103.5,
    "batch_size": 31.8,
    "window": 64,
    "raised": 0.0,
    "waiting_for": None,
    "errors": [{"where": "a.csv:9", "code": "function_error", "message": "no luck"}],
}
RUN: dict[str, Any] = {
    "id": "batch_1",
    "state": "failed",
    "namespace": "default",
    "function": "embed",
    "revision": 3,
    "input": ["upload:upload_1.jsonl"],
    "inline_rows": None,
    "output": None,
    "deadline": None,
    "created_at": "2026-11-24T12:00:00+00:00",
    "started_at": None,
    "ended_at": None,
    "problem": {"code": "too_many_failures", "detail": "3 of 5 rows failed", "hint": "Resume."},
    "progress": PROGRESS,
}


def answer(request: Request) -> Reply:
    if "/uploads" in request.path:
        return json_reply({"id": "upload_1.jsonl", "url": "upload:upload_1.jsonl", "size_bytes": 1})
    return json_reply({"batches": [RUN], "next": None} if request.verb == "GET" and "?" in request.path else RUN)


def test_a_file_is_sent_and_a_run_asked_for(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"t": "a"}\n')
    args = ["--map", "t=text", "--key", "id", "--deadline", "2027-01-31T06:00:00Z", "--max-failed-fraction", "0.25"]
    with shell_with(answer, tmp_path) as (stoker, platform):
        done = stoker("batch", "run", "team/embed.encode@prod", str(tmp_path / "in.jsonl"), *args, "--detach")
    assert done.stdout == "batch_1\n"
    assert platform.requests[0].path == "/v1/batches/uploads?name=in.jsonl"
    verb, path, body = sent(platform)
    assert (verb, path.partition("?")[0]) == ("POST", "/v1/batches")
    assert body == {
        "function": "embed",
        "namespace": "team",
        "ref": "prod",
        "method": "encode",
        "mapping": {"t": "text"},
        "key": "id",
        "deadline": "2027-01-31T06:00:00+00:00",
        "max_failed_fraction": 0.25,
        "input": ["upload:upload_1.jsonl"],
        "overwrite": False,
    }


def test_a_url_is_left_to_the_platform(tmp_path: Path) -> None:
    args = ("s3://bucket/*.csv", "--output", "s3://bucket/out")
    with shell_with(answer, tmp_path) as (stoker, platform):
        stoker("batch", "run", "embed", *args, "--detach")
    (request,) = platform.requests
    body = json.loads(request.body)
    assert (body["input"], body["output"]) == (["s3://bucket/*.csv"], "s3://bucket/out")


def test_an_output_that_exists_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("1\n")
    with shell_with(answer, tmp_path) as (stoker, platform):
        refused = stoker("batch", "run", "embed", str(tmp_path / "in.jsonl"), "-o", str(tmp_path), code=7)
    assert "--overwrite" in refused.stderr
    assert not platform.requests


@pytest.mark.parametrize(
    "args", [["--map", "text"], ["--deadline", "soon"], ["--format", "csv"], ["--max-failed-fraction", "2"]], ids=str
)
def test_a_wrong_option_is_a_usage_error(tmp_path: Path, args: list[str]) -> None:
    with shell_with(answer, tmp_path) as (stoker, platform):
        stoker("batch", "run", "embed", "s3://x/a.csv", *args, code=2)
    assert not platform.requests


def test_a_run_is_shown_with_its_first_failures(tmp_path: Path) -> None:
    with shell_with(answer, tmp_path) as (stoker, _):
        shown = stoker("batch", "show", "batch_1")
        listed = stoker("batch", "list", "embed")
    assert "embed@3" in shown.stdout
    assert "3 of 5 rows failed" in shown.stdout
    assert "a.csv:9: function_error: no luck" in shown.stderr
    assert listed.stdout.split("\t")[:4] == ["batch_1", "embed@3", "failed", "12000"]


def test_steering_says_what_may_change(tmp_path: Path) -> None:
    with shell_with(answer, tmp_path) as (stoker, platform):
        stoker("batch", "resume", "batch_1", "--max-failed-fraction", "0.9")
        assert sent(platform) == ("POST", "/v1/batches/batch_1/resume", {"max_failed_fraction": 0.9})
        stoker("batch", "pause", "batch_1")
        assert sent(platform)[1] == "/v1/batches/batch_1/pause"


def test_progress_is_one_line_and_marks_what_is_a_guess() -> None:
    assert line_of(PROGRESS) == "12,000 of ~100,000 · 850/s · batch 31.8 · 3 failed · 1m 44s left"
    assert line_of(PROGRESS | {"is_total_exact": True, "eta_s": None, "rate_per_s": 0, "waiting_for": "full"}) == (
        "12,000 of 100,000 · batch 31.8 · 3 failed · full"
    )
    assert [span(seconds) for seconds in (0.2, 59.6, 61, 3700)] == ["0s", "1m 0s", "1m 1s", "1h 1m"]

"""``stoker simulate`` and ``stoker history export``: files in, tables, charts and traces out."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from tests.support.cli_runs import Shell, sent, shell_with
from tests.support.fake_platform import Reply

TRACE = "function,t,n,d\n" + "".join(
    f"{name},{start + step * 700},1,1\n" for name, start in (("a", 0), ("b", 50)) for step in range(40)
)
HISTORY = "# start=0.000\n# end=90000.000\n" + TRACE
POLICIES = ("--policy", "fixed:600", "--policy", "fixed:900", "--policy", "hybrid-histogram")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def shell(tmp_path: Path) -> Shell:
    return Shell("http://127.0.0.1:9", tmp_path)


def test_a_table_has_one_line_per_policy(tmp_path: Path, trace: Path) -> None:
    result = shell(tmp_path)("simulate", "--trace", str(trace), *POLICIES)
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[0] for line in lines] == ["fixed:600", "fixed:900", "hybrid-histogram"]
    assert (lines[0][1], lines[0][5]) == ("100", "1.000")  # every gap is 699 s: always cold
    assert lines[1][1] == lines[2][1] == "0"
    assert "2 functions, 80 calls" in result.stderr
    assert "rows were not in the order of time" in result.stderr


def test_json_csv_and_a_chart_say_the_same(tmp_path: Path, trace: Path) -> None:
    table, plot = tmp_path / "t.csv", tmp_path / "p.svg"
    files = ("--csv", str(table), "--plot", str(plot))
    result = shell(tmp_path)("simulate", "--trace", str(trace), *POLICIES, "--json", *files)
    document = json.loads(result.stdout)
    assert document["trace"]["calls"] == 80
    assert [item["policy"] for item in document["results"]] == ["fixed:600", "fixed:900", "hybrid-histogram"]
    rows = {row["policy"]: row for row in csv.DictReader(table.read_text().splitlines())}
    assert float(rows["fixed:900"]["waste"]) == pytest.approx(document["results"][1]["waste"], rel=1e-5)
    assert {
        "fixed:60",
        "fixed:7200",
        "hybrid-histogram:1",
    } <= rows.keys()  # a chart takes every policy at several settings
    assert ElementTree.parse(plot).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(
    ("options", "label"),
    [
        (("--pool-target", "0.5"), "adaptive:pool-target=0.5"),
        (("--idle-budget", "900"), "adaptive:idle-budget=900"),
        (("--pool-target", "0.5", "--idle-budget", "900"), "adaptive:pool-target=0.5,idle-budget=900"),
    ],
    ids=["target", "budget", "both"],
)
def test_one_price_for_all_functions(tmp_path: Path, trace: Path, options: tuple[str, ...], label: str) -> None:
    printed = shell(tmp_path)("simulate", "--trace", str(trace), "--policy", "adaptive", *options).stdout
    assert printed.split("\t")[0] == label


def test_a_price_and_a_goal_for_all_are_two_ways(tmp_path: Path, trace: Path) -> None:
    options = ("--price", "600", "--idle-budget", "900")
    result = shell(tmp_path)("simulate", "--trace", str(trace), "--policy", "adaptive", *options, code=2)
    assert "--price and --idle-budget are two ways" in result.stderr


def test_scarce_room_with_host_memory(tmp_path: Path, trace: Path) -> None:
    options = ("--slots", "1", "--host-slots", "2", "--load-time", "20", "--policy", "lru", "--policy", "belady")
    lines = shell(tmp_path)("simulate", "--trace", str(trace), *options).stdout.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [["lru", "100", "100"], ["belady", "100", "100"]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--trace FILE or --from-history"),
        (("--trace", "t.csv", "--from-history"), "--trace FILE or --from-history"),
        (("--trace", "none.csv"), "there is no file none.csv"),
        (("--trace", "none.csv", "--policy", "magic"), "there is no policy 'magic'"),
        (("--trace", "none.csv", "--plot", "p.gif"), "must end in .svg or .png"),
        (("--trace", "none.csv", "--slots", "1", "--memory-mib", "9"), "give one"),
        (("--trace", "none.csv", "--memory-mib", "9"), "holds no replica"),
        (("--trace", "none.csv", "--host-slots", "9"), "needs --slots"),
        (("--trace", "none.csv", "--price", "9", "--target", "0.1"), "give one"),
        (("--trace", "none.csv", "--slots", "0"), "--slots"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_makes_no_sense_is_a_usage_error(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    assert said in shell(tmp_path)("simulate", *options, code=2).stderr


def test_the_platforms_own_record_is_replayed(tmp_path: Path) -> None:
    with shell_with(lambda _: Reply(HISTORY.encode(), content_type="text/csv; charset=utf-8"), tmp_path) as (
        stoker,
        it,
    ):
        assert "fixed:900\t0\t" in stoker("simulate", "--from-history", "--policy", "fixed:900").stdout
        assert sent(it)[:2] == ("GET", "/v1/history")


def test_an_empty_record_says_what_to_do(tmp_path: Path) -> None:
    empty = Reply(b"# start=0\n# end=1\nfunction,t,n,d\n", content_type="text/csv")
    with shell_with(lambda _: empty, tmp_path) as (stoker, _):
        assert "has recorded no call yet" in stoker("simulate", "--from-history", code=2).stderr


def test_export_writes_what_simulate_reads(tmp_path: Path) -> None:
    with shell_with(lambda _: Reply(HISTORY.encode(), content_type="text/csv"), tmp_path) as (stoker, platform):
        assert stoker("history", "export").stdout == HISTORY
        out = tmp_path / "out.csv"
        result = stoker("history", "export", "--since", "7d", "-o", str(out))
        assert (result.stdout, out.read_text()) == ("", HISTORY)
        assert "Wrote 80 rows" in result.stderr
        assert sent(platform)[:2] == ("GET", "/v1/history?last_s=604800")
        assert "cannot be written" in stoker("history", "export", "-o", str(tmp_path / "no" / "o"), code=2).stderr


def test_history_of_a_function_still_lists_its_revisions(tmp_path: Path) -> None:
    document = {"revisions": [{"revision": 1, "handler": "f"}], "aliases": {}}
    with shell_with(document, tmp_path) as (stoker, platform):
        assert stoker("history", "default/export").stdout.startswith("1\t")
        assert sent(platform)[:2] == ("GET", "/v1/functions/export?namespace=default")
        assert "no function name" in stoker("history", "a b", code=2).stderr

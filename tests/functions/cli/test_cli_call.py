"""`stoker call`: what travels, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.cli_runs import problem, sent, shell_with
from tests.support.fake_platform import Reply, Request, json_reply

RECEIPT = {"phases_ms": {"queue": 0.1, "execute": 2.0}, "cold": False, "batch_size": 1, "replica": "r1", "revision": 1}


def events(*pairs: tuple[str, object]) -> Reply:
    text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in pairs)
    return Reply(text.encode(), 200, {}, "text/event-stream")


@pytest.mark.parametrize(
    ("args", "body"),
    [
        (["x=21"], {"x": 21}),
        (["--x", "21"], {"x": 21}),
        (["--x=21", "--top-k", "3"], {"x": 21, "top_k": 3}),
        (["text=hello world"], {"text": "hello world"}),
        (["items=[1, 2]", "flag=true"], {"items": [1, 2], "flag": True}),
        (['text="21"'], {"text": "21"}),
        (["--x", "-1"], {"x": -1}),
        (["-d", '{"x": 21}'], {"x": 21}),
        (["-d", "[1, 2]"], [1, 2]),
        ([], {}),
        (["21"], [[21], {}]),
        (["21", "note=hi"], [[21], {"note": "hi"}]),
    ],
    ids=str,
)
def test_arguments_become_the_body(args: list[str], body: object, tmp_path: Path) -> None:
    with shell_with(42, tmp_path) as (stoker, platform):
        assert stoker("call", "double", *args).stdout == "42\n"
        assert sent(platform) == ("POST", "/n/default/f/double", body)
        assert platform.requests[0].headers["authorization"] == "Bearer t0ken"


@pytest.mark.parametrize(
    ("reference", "path", "method"),
    [
        ("double@3", "/n/default/f/double@3", None),
        ("team-a/double@prod", "/n/team-a/f/double@prod", None),
        ("embed.encode", "/n/default/f/embed", "encode"),
    ],
)
def test_a_reference_names_namespace_revision_and_method(
    reference: str, path: str, method: str | None, tmp_path: Path
) -> None:
    with shell_with(42, tmp_path) as (stoker, platform):
        stoker("call", reference, "x=1")
        assert platform.requests[0].path == path
        assert platform.requests[0].headers.get("stoker-method") == method


def test_options_become_headers(tmp_path: Path) -> None:
    with shell_with(42, tmp_path) as (stoker, platform):
        stoker("call", "double", "x=1", "--timeout-s", "1.5", "--priority", "background", "-H", "X-Trace: 7")
        headers = platform.requests[0].headers
        assert headers["stoker-timeout-ms"] == "1500"
        assert headers["stoker-priority"] == "background"
        assert headers["x-trace"] == "7"


def test_a_file_of_bytes_is_the_whole_body_with_its_type(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff")
    with shell_with(42, tmp_path) as (stoker, platform):
        stoker("call", "classify", "-d", f"@{photo}")
        assert platform.requests[0].body == b"\xff\xd8\xff"
        assert platform.requests[0].headers["content-type"] == "image/jpeg"


def test_a_named_file_of_bytes_travels_in_a_form(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff")
    with shell_with(42, tmp_path) as (stoker, platform):
        stoker("call", "classify", f"image=@{photo}", "top=3")
        assert platform.requests[0].headers["content-type"].startswith("multipart/form-data")
        assert b'name="image"; filename="photo.jpg"' in platform.requests[0].body
        assert b'name="top"' in platform.requests[0].body


def test_a_text_file_is_an_argument(tmp_path: Path) -> None:
    page = tmp_path / "page.txt"
    page.write_text("once upon a time")
    with shell_with(42, tmp_path) as (stoker, platform):
        stoker("call", "embed", f"text=@{page}")
        assert sent(platform)[2] == {"text": "once upon a time"}


def test_standard_input_is_the_body(tmp_path: Path) -> None:
    with shell_with(42, tmp_path) as (stoker, platform):
        stoker("call", "double", "-d", "-", stdin='{"x": 1}')
        assert sent(platform)[2] == {"x": 1}


@pytest.mark.parametrize(
    ("reply", "printed"),
    [
        (json_reply("Hello, world!"), "Hello, world!\n"),
        (json_reply({"label": "café"}), '{"label": "café"}\n'),
        (Reply(b"plain", 200, {}, "text/plain"), "plain\n"),
    ],
    ids=["text", "document", "plain"],
)
def test_an_answer_is_printed_for_the_next_program(reply: Reply, printed: str, tmp_path: Path) -> None:
    with shell_with(lambda _: reply, tmp_path) as (stoker, _):
        assert stoker("call", "f").stdout == printed


def test_bytes_are_printed_as_they_are(tmp_path: Path) -> None:
    with shell_with(lambda _: Reply(b"\x89PNG\x00", 200, {}, "image/png"), tmp_path) as (stoker, _):
        assert stoker("call", "draw").stdout_bytes == b"\x89PNG\x00"


def test_bytes_can_go_to_a_file(tmp_path: Path) -> None:
    with shell_with(lambda _: Reply(b"\x89PNG\x00", 200, {}, "image/png"), tmp_path) as (stoker, _):
        stoker("call", "draw", "-o", str(tmp_path / "out.png"))
    assert (tmp_path / "out.png").read_bytes() == b"\x89PNG\x00"


def test_a_receipt_stands_beside_the_answer(tmp_path: Path) -> None:
    with shell_with({"result": 42, "receipt": RECEIPT}, tmp_path) as (stoker, platform):
        result = stoker("call", "double", "x=21", "--receipt")
        assert result.stdout == "42\n"
        assert "warm, batch of 1, revision 1, replica r1" in result.stderr
        assert platform.requests[0].headers["stoker-receipt"] == "1"
        assert json.loads(stoker("call", "double", "x=21", "--receipt", "--json").stdout)["receipt"] == RECEIPT


def test_a_stream_prints_items_as_they_come(tmp_path: Path) -> None:
    reply = events(("phase", {"phase": "fork"}), ("item", "a"), ("item", {"n": 1}), ("end", {"receipt": RECEIPT}))
    with shell_with(lambda _: reply, tmp_path) as (stoker, platform):
        result = stoker("call", "chat", "--stream", "--receipt")
        assert result.stdout == 'a\n{"n": 1}\n'
        assert "execute" in result.stderr
        assert platform.requests[0].headers["accept"] == "text/event-stream"


def test_a_raw_stream_joins_its_pieces(tmp_path: Path) -> None:
    reply = events(("item", "Hel"), ("item", "lo"), ("end", {}))
    with shell_with(lambda _: reply, tmp_path) as (stoker, _):
        assert stoker("call", "chat", "--stream", "--raw").stdout == "Hello\n"


def test_an_error_in_a_stream_ends_it_with_its_code(tmp_path: Path) -> None:
    reply = events(("item", 1), ("error", {"code": "function_error", "status": 500, "detail": "bad"}))
    with shell_with(lambda _: reply, tmp_path) as (stoker, _):
        assert "bad" in stoker("call", "chat", "--stream", code=1).stderr


def test_a_stream_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    with shell_with(lambda _: events(("item", 1)), tmp_path) as (stoker, _):
        assert "broke off" in stoker("call", "chat", "--stream", code=1).stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["x=1", "-d", "{}"], "not both"),
        (["-d", "{broken"], "must be JSON"),
        (["x=1", "x=2"], "given twice"),
        (["--recipt"], "no option --recipt"),
        (["-H", "nonsense"], "Name: value"),
        (["text=@missing.txt"], "cannot read"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_refused_before_anything_is_sent(args: list[str], said: str, tmp_path: Path) -> None:
    def answer(_: Request) -> Reply:
        return problem("internal", 500)

    with shell_with(answer, tmp_path) as (stoker, platform):
        assert said in stoker("call", "double", *args, code=2).stderr
        assert platform.requests == []


def test_a_wrong_reference_is_refused(tmp_path: Path) -> None:
    with shell_with(42, tmp_path) as (stoker, _):
        assert "no function name" in stoker("call", "a/b/c", code=2).stderr

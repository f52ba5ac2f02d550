"""Columns to parameters, and back to lines of output."""

from __future__ import annotations

import json

import pytest

from stoker_api.batches.mapping import MappingFailed, Parameters, RowMapping, parameters_of
from stoker_api.batches.output_lines import error_line, result_line
from stoker_api.batches.rows import RowProblem

SCHEMA = {
    "input": {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "size": {"type": "integer", "default": 3},
            "deep": {"type": "array"},
        },
        "required": ["text"],
        "additionalProperties": False,
    },
    "methods": {"score": {"input": {"properties": {"query": {}}, "required": ["query"]}}},
}
PARAMETERS = parameters_of(SCHEMA, None)


def mapped(
    columns: list[str], mapping: dict[str, str] | None = None, key: str | None = None, text: bool = False
) -> RowMapping:
    return RowMapping(columns, PARAMETERS, mapping or {}, key, is_text=text)


def test_columns_of_the_same_name_are_given_and_others_are_not() -> None:
    assert mapped(["id", "text", "size"]).body({"id": 1, "text": "a", "size": 2}) == b'{"text":"a","size":2}'


def test_a_column_is_renamed() -> None:
    assert mapped(["review"], {"review": "text"}).body({"review": "a"}) == b'{"text":"a"}'


def test_a_row_that_is_one_value_goes_to_the_one_parameter() -> None:
    assert mapped(["value"]).body({"value": "a"}) == b'{"text":"a"}'


def test_where_nothing_is_known_of_the_function_every_column_but_the_key_is_given() -> None:
    found = RowMapping(["id", "a"], Parameters(), {}, "id", is_text=False)
    assert found.body({"id": 1, "a": 2}) == b'{"a":2}'


def test_a_method_has_parameters_of_its_own() -> None:
    assert parameters_of(SCHEMA, "score").required == {"query"}


def test_text_becomes_what_the_parameter_asks_for() -> None:
    found = mapped(["text", "size", "deep"], text=True)
    assert found.body({"text": "1", "size": "2", "deep": "[1]"}) == b'{"text":"1","size":2,"deep":[1]}'
    assert found.body({"text": "1", "size": "two", "deep": ""}) == b'{"text":"1","size":"two","deep":""}'


@pytest.mark.parametrize(
    ("columns", "mapping", "key", "says"),
    [
        (["txt"], {}, None, "did you mean 'txt'"),
        (["Text"], {}, None, "did you mean 'Text'"),
        (["a"], {"b": "text"}, None, "there is no column 'b'"),
        (["review"], {"review": "txt"}, None, "takes no 'txt'; did you mean 'text'"),
        (["text", "ids"], {}, "id", "did you mean 'ids'"),
        (["a", "b"], {"a": "text", "b": "text"}, None, "two columns"),
        (["size"], {}, None, "parameter 'text'"),
    ],
    ids=["near", "case", "absent", "parameter", "key", "double", "missing"],
)
def test_what_does_not_fit_is_refused_with_what_was_probably_meant(
    columns: list[str], mapping: dict[str, str], key: str | None, says: str
) -> None:
    with pytest.raises(MappingFailed, match=says):
        mapped(columns, mapping, key)


def test_a_row_without_a_needed_column_or_a_key_is_told_alone() -> None:
    found = mapped(["id", "text"], key="id")
    assert found.body({"id": 1}) == RowProblem("missing_column", "the row has no 'text'")
    assert isinstance(found.key(4, {"text": "a"}), RowProblem)
    assert isinstance(found.key(4, None), RowProblem)
    assert found.key(4, {"id": "é"}) == '"é"'.encode()
    assert mapped(["text"]).key(4, None) == b"4"


def test_a_result_is_one_line_whatever_it_was() -> None:
    assert result_line(b'"k"', b'{"a": 1}', "application/json") == b'{"key":"k","result":{"a": 1}}'
    assert json.loads(result_line(b"1", b'{\n"a": 1}', "")) == {"key": 1, "result": {"a": 1}}
    assert json.loads(result_line(b"1", b"a\nb", "text/plain; charset=utf-8"))["result"] == "a\nb"
    assert json.loads(result_line(b"1", b"\xff\n", "image/png"))["result"] == {"$stoker.bytes": "/wo="}
    assert b"\n" not in result_line(b"1", b"\xff\n", "image/png")


def test_a_failure_says_which_row_and_where() -> None:
    line = error_line(b'"k"', 7, "a.csv:9", RowProblem("function_error", "no\nluck", "builtins.ValueError"))
    assert json.loads(line) == {
        "key": "k",
        "row": 7,
        "where": "a.csv:9",
        "code": "function_error",
        "message": "no\nluck",
        "error_type": "builtins.ValueError",
    }
    assert b"\n" not in line

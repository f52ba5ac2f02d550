"""Remote exceptions: the user's class where it is at hand, data where it is not, and never an import."""

from __future__ import annotations

import sys

import pytest

from stoker.errors import FunctionError
from stoker.remote_errors import RemoteTraceback, error_of_problem


class OutOfTea(Exception):
    """A user's own class."""


class NeedsTwo(Exception):
    """Cannot be made of one text."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first, second)
        self.second = second


def problem(error_type: str, message: str = "m", args: list[object] | None = None) -> dict[str, object]:
    return {
        "code": "function_error",
        "detail": f"{error_type}: {message}",
        "error_type": error_type,
        "error_message": message,
        "error_args": args or [],
        "traceback": "Traceback of the worker",
    }


def test_an_own_class_comes_back() -> None:
    error = error_of_problem(problem(f"{__name__}.OutOfTea", args=["empty"]))
    assert isinstance(error, OutOfTea)
    assert error.args == ("empty",)
    assert isinstance(error.__cause__, RemoteTraceback)


def test_an_own_class_comes_back_though_its_init_wants_something_else() -> None:
    error = error_of_problem(problem(f"{__name__}.NeedsTwo", args=["1 and 2"]))
    assert isinstance(error, NeedsTwo)
    assert str(error) == "1 and 2"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes came with 3.11")
def test_the_remote_traceback_is_a_note() -> None:
    error = error_of_problem(problem("builtins.ValueError"))
    assert "Traceback of the worker" in error.__notes__[0]


def test_arguments_rebuild_the_exception() -> None:
    error = error_of_problem(problem(f"{__name__}.NeedsTwo", args=[1, 2]))
    assert isinstance(error, NeedsTwo)
    assert error.second == 2


@pytest.mark.parametrize(
    "error_type",
    [
        "builtins.SystemExit",  # no Exception
        "builtins.KeyboardInterrupt",
        "builtins.eval",  # no class
        "os.system",
        "antigravity.Error",  # a module that is not imported
        "nowhere.at.all.Error",
        "",
        "..",
    ],
)
def test_what_is_no_exception_at_hand_stays_data(error_type: str) -> None:
    error = error_of_problem(problem(error_type))
    if error_type:
        assert isinstance(error, FunctionError)
        assert error.error_type == error_type
        assert error.remote_traceback == "Traceback of the worker"
    assert "antigravity" not in sys.modules

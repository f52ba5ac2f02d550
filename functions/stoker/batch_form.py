"""Whether user code takes a batch's lists, or was written for one item and given ``batch=`` all the same.

The rule that must not break: code whose hints say lists, or which answered a batch as it should once, is never called
with single items; and what one item gets from such code is never a guess: a list is no answer for one item.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Final

_ONE: Final = frozenset({"", "int", "float", "str", "bool", "bytes", "complex", "dict"})


class BatchForm:
    """What was found out about one entry so far."""

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call
        self._may_be_for_one = not inspect.iscoroutinefunction(call) and _hints_at_one_item(call)
        self.is_for_one = False
        """Known to be written for one item."""

    def took_lists(self) -> None:
        """It answered a batch as it should."""
        self._may_be_for_one = False

    def answers_of(self, items: Sequence[Callable[[], object]]) -> list[object] | None:
        """What it returns for each item alone, after its answer to the lists was none; None if it takes no items."""
        if not self._may_be_for_one:
            return None
        answers: list[object] = []
        for run in items:
            try:
                answer = run()
            except Exception:  # it wants lists, and its answer to them was wrong
                return None
            if isinstance(answer, (list, tuple)) or hasattr(answer, "ndim"):
                return None
            answers.append(answer)
        self.is_for_one = True
        return answers


def each_alone(items: Sequence[Callable[[], object]]) -> list[object]:
    """The answer of each, or the exception that it raised."""
    answers: list[object] = []
    for run in items:
        try:
            answers.append(run())
        except Exception as error:  # of user code: it is this item's answer
            answers.append(error)
    return answers


def _hints_at_one_item(call: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return False
    return all(_text(parameter.annotation) in _ONE for parameter in parameters)


def _text(annotation: object) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)

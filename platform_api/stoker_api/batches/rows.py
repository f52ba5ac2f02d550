"""One row of an input, good or bad.

The rule that must not break: a row that cannot be read is still a row, with a number and a place, so that the numbers
of all others do not depend on it and it shows up in the error file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

LONGEST_ROW_BYTES: Final = 16 * 1024 * 1024
VALUE_COLUMN: Final = "value"
"""The one column of a row that is no object."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row, or a call for it, gave no result."""

    code: str
    message: str
    error_type: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """``values`` by column; or None, and ``problem`` says why."""

    number: int
    where: str
    """File and line (or row) for a person."""
    values: Mapping[str, object] | None
    problem: RowProblem | None = None


class RowReader(Protocol):
    """Reads one file once, from its beginning."""

    count: int
    """Rows that were given or passed over."""

    def rows(self, first: int, start: int) -> Iterator[Row]:
        """The rows, numbered from ``first``; those below ``start`` are passed over as cheaply as may be."""
        ...

    def fraction(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def bad_row(number: int, where: str, code: str, message: str) -> Row:
    """A row that could not be read."""
    return Row(number, where, None, RowProblem(code, message))

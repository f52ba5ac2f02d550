"""Writes docs/performance.md from benchmarks/results/*.json: `python -m benchmarks.report`.

The rule: no figure is typed by hand. Each table stands under the first line of its benchmark's docstring, with the date
and the machine it was measured on.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.table import RESULTS, markdown

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs/performance.md"
HEAD = """# Performance

Written by `python -m benchmarks.report` from the files in `benchmarks/results/`; no figure here is typed by hand. Each
table is printed by `python -m benchmarks NAME`, which a sceptic can run. Figures of one table come from one run, with
rivals interleaved, and are medians; compare within a table, not between machines.
"""


def source_of(name: str) -> Path:
    """The module of a benchmark; of a folder, the one that runs it whole."""
    place = FOLDER / name.replace(".", "/")
    return place / "__main__.py" if place.is_dir() else place.with_suffix(".py")


def tables(name: str, rows: Sequence[Mapping[str, object]]) -> str:
    """One table, or one for each value of the column `table` under the first line of the function of that name."""
    if "table" not in rows[0]:
        return markdown(rows)
    source = source_of(name)
    files = source.parent.glob("*.py") if source.stem == "__main__" else [source]
    nodes = [node for file in files for node in ast.parse(file.read_text()).body]
    about = {node.name: ast.get_docstring(node) for node in nodes if isinstance(node, ast.FunctionDef)}
    parts = []
    for table in dict.fromkeys(str(row["table"]) for row in rows):
        own = [{key: row[key] for key in row if key != "table"} for row in rows if row["table"] == table]
        parts.append(f"### {table}\n\n{about.get(table) or table}\n\n{markdown(own)}")
    return "\n\n".join(parts)


def section(name: str, document: Mapping[str, object]) -> str:
    """One benchmark: what it measures, its table, and where it was measured."""
    rows, machine = document["rows"], document["machine"]
    assert isinstance(rows, list)
    assert isinstance(machine, dict)
    source = source_of(name).read_text()
    about = (ast.get_docstring(ast.parse(source)) or name).split("\n\n")[0].replace("\n", " ")
    place = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}"
    where = f"{document['date']}, {place}, Python {machine['python']}, GPU: {machine['gpu']}."
    return f"## {name}\n\n{about}\n\n{tables(name, rows)}\n\n{where} Again: `python -m benchmarks {name}`.\n"


def main() -> None:
    """Write the page."""
    sections = [section(path.stem, json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]
    PAGE.write_text("\n".join([HEAD, *sections]))
    print(f"{PAGE.name}: {len(sections)} benchmarks")


if __name__ == "__main__":
    main()

"""Pre-flight: what Python source says about itself, without running it.

The rule that must not break: source is parsed and compiled, never executed.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from stoker.finding import Finding
from stoker.preflight_captures import secret_finding
from stoker.secret_patterns import looks_secret
from stoker.shape_from_source import shape_of_node
from stoker.shapes import Shape

MAX_SOURCE_CHARS: Final = 4 * 1024 * 1024
_NOT_CALLABLE: Final = (
    ast.Constant, ast.List, ast.Dict, ast.Set, ast.Tuple, ast.JoinedStr, ast.ListComp, ast.DictComp, ast.SetComp,
    ast.GeneratorExp, ast.BinOp, ast.Compare,
)  # fmt: skip


@dataclass
class SourceOutline:
    """Names that a module defines at its top, and where from."""

    names: dict[str, ast.AST] = field(default_factory=dict)
    main_only: set[str] = field(default_factory=set)
    """Defined under ``if __name__ == "__main__"`` alone."""
    is_open: bool = False
    """A star import, or globals written by code: more names may appear at run time."""


def parse(source: str) -> tuple[ast.Module | None, list[Finding]]:
    """The tree, or why there is none."""
    if len(source) > MAX_SOURCE_CHARS:
        message = f"the source has {len(source)} characters, more than {MAX_SOURCE_CHARS}"
        return None, [Finding("source_too_large", message, "Send data as files, not inside of the source.")]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
            compile(tree, "<source>", "exec", dont_inherit=True)  # finds `return` outside of a function and the like
    except SyntaxError as error:
        line = (error.text or "").strip()
        where = f"line {error.lineno}" + (f": {line}" if line else "")
        return None, [Finding("syntax_error", f"the source has a syntax error at {where} ({error.msg})", "Correct it.")]
    except (ValueError, RecursionError, MemoryError) as error:
        return None, [Finding("syntax_error", f"the source cannot be parsed: {error}", "Send plain Python text.")]
    return tree, []


def check_handler(tree: ast.Module, handler: str) -> tuple[Shape | None, list[Finding]]:
    """The handler's shape where it can be known, or why it cannot be called."""
    parts = handler.split(".")
    if not all(part.isidentifier() for part in parts):
        return None, [
            Finding("handler_name", f"handler must be the name of a function or class, got {handler!r}", "Name one.")
        ]
    if any(part.startswith("_") for part in parts):
        return None, [
            Finding(
                "handler_private",
                f"handler {handler!r} is private: it cannot be called from outside",
                f"Rename it to {parts[-1].strip('_') or 'predict'!r}, or name another handler.",
            )
        ]
    outline = outline_of(tree)
    node = _resolve(outline, parts)
    if node is None:
        return None, _missing(outline, handler, parts)
    if isinstance(node, _NOT_CALLABLE):
        message = f"{handler} is {_described(node)}, which cannot be called"
        return None, [Finding("handler_not_callable", message, "Name a function or a class as the handler.")]
    return shape_of_node(node, outline.names), []


def check_text(tree: ast.Module) -> Iterator[Finding]:
    """Relative imports and texts that look like secrets."""
    named: set[int] = set()  # texts that were judged with the name they are assigned to
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            name = "." * node.level + (node.module or "")
            yield Finding(
                "relative_import",
                f"line {node.lineno} imports {name!r}, but a single source has no package around it",
                "Put the code into the source, add the package to Environment(files=[...]), or deploy with the CLI.",
            )
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Constant):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = ast.unparse(target)
            kind = looks_secret(name, node.value.value)
            if kind:
                yield secret_finding(f"{name} (line {node.lineno})", kind)
                named.add(id(node.value))
        elif isinstance(node, ast.Constant) and id(node) not in named:
            kind = looks_secret("", node.value)
            if kind:
                yield secret_finding(f"a text in line {node.lineno}", kind)


def outline_of(tree: ast.Module) -> SourceOutline:
    """The names that exist after the module ran, as far as its text tells."""
    outline = SourceOutline()
    for node in tree.body:
        _outline(node, outline, is_main=False)
    outline.main_only -= outline.names.keys()
    return outline


def _outline(node: ast.AST, outline: SourceOutline, *, is_main: bool) -> None:
    for name, definition in _defined(node, outline):
        if is_main:
            outline.main_only.add(name)
        else:
            outline.names[name] = definition
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    inner_main = is_main or (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test))
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.ExceptHandler)):
            in_else = isinstance(node, ast.If) and child in node.orelse
            _outline(child, outline, is_main=is_main if in_else else inner_main)


def _defined(node: ast.AST, outline: SourceOutline) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name, node
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            if alias.name == "*":
                outline.is_open = True
            yield alias.asname or alias.name.partition(".")[0], node
    elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, (ast.Tuple, ast.List)):
                yield from ((item.id, target.ctx) for item in target.elts if isinstance(item, ast.Name))
            else:
                outline.is_open = outline.is_open or "globals()" in ast.unparse(target)
    elif isinstance(node, ast.Expr) and any(word in ast.unparse(node) for word in ("globals()", "exec(", "setattr(")):
        outline.is_open = True


def _resolve(outline: SourceOutline, parts: list[str]) -> ast.AST | None:
    node = outline.names.get(parts[0])
    for _ in range(16):  # follow plain aliases: handler = other
        if not isinstance(node, ast.Name):
            break
        node = outline.names.get(node.id, node.ctx)
    for part in parts[1:]:
        if not isinstance(node, ast.ClassDef):
            return node.ctx if isinstance(node, ast.Name) else ast.Load() if node is not None else None
        node = next((item for item in node.body if getattr(item, "name", "") == part), None)
    return node


def _missing(outline: SourceOutline, handler: str, parts: list[str]) -> list[Finding]:
    if parts[0] in outline.main_only:
        return [
            Finding(
                "handler_main_only",
                f'{handler} is defined only under `if __name__ == "__main__"`, which does not run in a worker',
                "Move it to the top level of the source.",
            )
        ]
    callables = [
        name
        for name, node in outline.names.items()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not name.startswith("_")
    ]
    close = get_close_matches(handler, callables, n=1)
    fix = f"Did you mean {close[0]!r}?" if close else f"It defines: {', '.join(callables) or 'nothing callable'}."
    return [Finding("handler_missing", f"the source has no {handler!r}", fix, is_error=not outline.is_open)]


def _described(node: ast.AST) -> str:
    names = {ast.List: "a list", ast.Dict: "a dict", ast.Set: "a set", ast.Tuple: "a tuple"}
    if isinstance(node, ast.Constant):
        return f"a {type(node.value).__name__}"
    return names.get(type(node), "a value")

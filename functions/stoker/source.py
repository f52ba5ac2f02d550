"""What Python source says without being run.

The rule that must not break: the source is parsed, never executed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

_TRY = (ast.Try, getattr(ast, "TryStar", ast.Try))  # `except*` came with 3.11


def imports_of(source: str) -> tuple[str, ...]:
    """Dotted names of the modules that the source imports anywhere, sorted; () where it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    return tuple(sorted({name for name, _ in import_nodes(tree)}))


def import_nodes(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """(module, is required): an import under ``try`` or inside a function may be optional."""
    for node, is_guarded in _walk(tree, False):
        if isinstance(node, ast.Import):
            yield from ((alias.name, not is_guarded) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, not is_guarded


def _walk(node: ast.AST, is_guarded: bool) -> Iterator[tuple[ast.AST, bool]]:
    yield node, is_guarded
    is_type_checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    guarded = is_guarded or is_type_checking or (isinstance(node, _TRY) and bool(node.handlers))
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, guarded)

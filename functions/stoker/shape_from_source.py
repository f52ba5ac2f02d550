"""The shape of a handler that stands in source, without running it.

The rule that must not break: what cannot be known without running is ``None``, never guessed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from inspect import Parameter

from stoker.shapes import CallableShape, ClassShape, Kind, ParameterShape, Shape

_HOOKS = ("method", "enter", "exit", "sleep", "wake")


def shape_of_node(node: ast.AST, definitions: Mapping[str, ast.AST]) -> Shape | None:
    """The shape of a definition or a lambda; ``definitions`` are the module's names, for base classes."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return _function(node)
    if isinstance(node, ast.ClassDef):
        return _class(node, definitions)
    if isinstance(node, ast.Lambda):
        return CallableShape(name="<lambda>", kind=Kind.FUNCTION, parameters=_parameters(node.args), line=node.lineno)
    return None


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, *, is_method: bool = False) -> CallableShape:
    parameters = _parameters(node.args)
    decorators = {_dotted(item).rpartition(".")[2]: item for item in node.decorator_list}
    if is_method and "staticmethod" not in decorators:
        parameters = parameters[1:] if parameters and parameters[0].is_positional else parameters
    hook = next((name for name in _HOOKS if name in decorators), "")
    return CallableShape(
        name=node.name,
        kind=_kind(node),
        parameters=parameters,
        line=node.lineno,
        hook=hook,
        is_default=bool(hook) and "default=True" in ast.unparse(decorators[hook]),
        returns=ast.unparse(node.returns) if node.returns is not None else "",
    )


def _class(node: ast.ClassDef, definitions: Mapping[str, ast.AST]) -> ClassShape:
    methods: dict[str, CallableShape] = {}
    is_whole = not node.keywords
    for base in node.bases:
        found = definitions.get(base.id) if isinstance(base, ast.Name) else None
        if isinstance(found, ast.ClassDef) and found is not node:
            parent = _class(found, {name: item for name, item in definitions.items() if item is not node})
            methods |= {method.name: method for method in parent.methods}
            is_whole = is_whole and parent.is_whole
        elif not (isinstance(base, ast.Name) and base.id == "object"):
            is_whole = False
    for item in node.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            methods[item.name] = _function(item, is_method=True)
        elif not isinstance(item, (ast.Expr, ast.Pass, ast.AnnAssign)):
            is_whole = is_whole and isinstance(item, ast.Assign)
    return ClassShape(name=node.name, methods=tuple(methods.values()), is_whole=is_whole, line=node.lineno)


def _parameters(arguments: ast.arguments) -> tuple[ParameterShape, ...]:
    found: list[ParameterShape] = []
    positional = [(item, int(Parameter.POSITIONAL_ONLY)) for item in arguments.posonlyargs]
    positional += [(item, int(Parameter.POSITIONAL_OR_KEYWORD)) for item in arguments.args]
    first_default = len(positional) - len(arguments.defaults)
    for index, (item, kind) in enumerate(positional):
        found.append(ParameterShape(item.arg, kind, index < first_default))
    if arguments.vararg:
        found.append(ParameterShape(arguments.vararg.arg, Parameter.VAR_POSITIONAL.value, False))
    for item, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(ParameterShape(item.arg, Parameter.KEYWORD_ONLY.value, default is None))
    if arguments.kwarg:
        found.append(ParameterShape(arguments.kwarg.arg, Parameter.VAR_KEYWORD.value, False))
    return tuple(found)


def _kind(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Kind:
    yields = any(isinstance(item, (ast.Yield, ast.YieldFrom)) for item in _own_nodes(node))
    if isinstance(node, ast.AsyncFunctionDef):
        return Kind.ASYNC_GENERATOR if yields else Kind.ASYNC
    return Kind.GENERATOR if yields else Kind.FUNCTION


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a function's own body, not of functions inside of it."""
    body = node.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else []
    waiting: list[ast.AST] = list(body)
    while waiting:
        item = waiting.pop()
        yield item
        if not isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            waiting.extend(ast.iter_child_nodes(item))


def _dotted(node: ast.expr) -> str:
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)

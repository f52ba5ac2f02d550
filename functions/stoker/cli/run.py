"""``stoker run``: a function once, here, with no platform.

The rule that must not break: one item in and one answer out, as a caller of the platform would see it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import click

from stoker.cli.answers import print_answer, print_item
from stoker.cli.examples import examples
from stoker.cli.flags import flags_of, with_positions
from stoker.cli.output import json_option
from stoker.cli.target import Target, TargetNotFound, load_functions
from stoker.cli.user_code import user_code
from stoker.function import Function
from stoker.shapes import ClassShape, shape_of


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples(
        "stoker run app.py::double --x 21",
        "stoker run app.py::double x=21",
        "stoker run app.py::Embed.encode --text @page.txt",
        "stoker run app.py::double --help",
    ),
)
@click.argument("target", metavar="TARGET")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]…")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the answer to a file.")
@click.option("--raw", is_flag=True, help="Join streamed text as it comes, without line ends.")
@json_option
def run(target: str, args: tuple[str, ...], output: Path | None, raw: bool, as_json: bool) -> None:
    """Run the function TARGET here, once, without a platform.

    Its parameters are flags (--x 21), name=value, or stand in their order; a value is what its type hint says, else
    JSON, else text; @file reads a file. Options of `run` itself stand before TARGET.
    """
    where = Target.parse(target)
    with user_code(Path(where.place)):
        functions = load_functions(where)
    if len(functions) > 1:
        names = ", ".join(f"{where.place}::{getattr(item.target, '__name__', item.options.name)}" for item in functions)
        raise click.UsageError(f"{where.place} has more than one function; name one: {names}")
    values = read_values(functions[0], where, target, args)

    with user_code(where.place):
        _finish(_call(functions[0], where.method, values), as_json=as_json, raw=raw, output=output)


def read_values(function: Function, where: Target, shown: str, args: tuple[str, ...]) -> dict[str, object]:
    """The call's keyword arguments; prints help and ends for ``--help``."""
    entry, is_method = _entry(function, where)
    options = flags_of(entry, is_batched=function.options.batch is not None, is_method=is_method)
    needed = [
        name
        for name, item in inspect.signature(entry).parameters.items()
        if item.default is item.empty and item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
    ][1 if is_method else 0 :]
    positional = click.Argument(["arguments_"], nargs=-1, type=click.UNPROCESSED, metavar="[NAME=VALUE]…")
    inner = click.Command(
        f"stoker run {shown}",
        params=[*options, positional],
        help=inspect.getdoc(entry),
        context_settings={"help_option_names": ["--help"]},
    )
    with inner.make_context(f"stoker run {shown}", list(args)) as ctx:
        texts = with_positions(ctx.params.pop("arguments_"), options)
        values = {name: value for name, value in ctx.params.items() if value is not None}
        for option in options:
            name = str(option.name)
            if name in texts and name in values:
                raise click.UsageError(f"{name} is given twice")
            if name in texts:
                values[name] = option.type_cast_value(ctx, texts[name])
        missing = [f"--{name.replace('_', '-')}" for name in needed if name not in values]
        if missing:
            raise click.UsageError(f"missing {', '.join(missing)}", ctx)
    return values


def _entry(function: Function, where: Target) -> tuple[Callable[..., object], bool]:
    target = function.target
    if not isinstance(target, type):
        if where.method:
            raise TargetNotFound(f"{where.name} is a function and has no method {where.method!r}")
        return cast(Callable[..., object], target), False
    shape = cast(ClassShape, shape_of(target))
    name = where.method or (shape.default.name if shape.default else None)
    names = [entry.name for entry in shape.entries]
    if name not in names:
        what = f"has no method {name!r}" if name else "has several methods, and none is the default"
        raise TargetNotFound(f"{target.__name__} {what}", hint=f"Name one: {', '.join(names) or 'it has none'}.")
    member = inspect.getattr_static(target, name)
    return getattr(target, name), not isinstance(member, (staticmethod, classmethod))


def _call(function: Function, method: str | None, values: dict[str, object]) -> object:
    parameters = inspect.signature(_entry(function, Target("", None, method))[0]).parameters
    only = [n for n, item in parameters.items() if item.kind is item.POSITIONAL_ONLY and n in values]
    args = [values.pop(name) for name in only]
    return getattr(function, method).local(*args, **values) if method else function.local(*args, **values)


def _finish(result: object, *, as_json: bool, raw: bool, output: Path | None) -> None:
    if inspect.isasyncgen(result):
        asyncio.run(_print_each(result, as_json, raw))
        return
    if inspect.isgenerator(result):
        for item in result:
            print_item(item, as_json=as_json, raw=raw)
        return
    if inspect.isawaitable(result):
        result = asyncio.run(_value(result))
    print_answer(result, as_json=as_json, output=output)


async def _print_each(items: AsyncIterator[object], as_json: bool, raw: bool) -> None:
    async for item in items:
        print_item(item, as_json=as_json, raw=raw)


async def _value(result: Awaitable[Any]) -> object:
    return await result

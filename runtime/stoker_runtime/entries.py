"""What a loaded bundle offers to callers: one entry per function or method, with its hooks.

The rule that must not break: everything about a call that can be known at load (its kind, its parameters, its
validators) is worked out here, once, so that a call itself only runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from stoker.errors import PreflightFailed
from stoker_runtime.signature import Binder

CALL: Final = "__call__"
_ENTER_NAMES: Final = ("setup", "load")


class EntryKind(Enum):
    """How user code runs."""

    PLAIN = "plain"
    COROUTINE = "coroutine"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One callable that calls can name."""

    name: str
    call: Callable[..., object]
    kind: EntryKind
    binder: Binder

    @property
    def streams(self) -> bool:
        """Its results come as chunks."""
        return self.kind in (EntryKind.GENERATOR, EntryKind.ASYNC_GENERATOR)

    @property
    def is_async(self) -> bool:
        """It needs an event loop."""
        return self.kind in (EntryKind.COROUTINE, EntryKind.ASYNC_GENERATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """All entries of a bundle, and the hooks around their life."""

    by_name: dict[str, Entry]
    default: Entry | None
    """What a call that names no method runs; None: it must name one."""
    enter: list[Callable[[], object]] = field(default_factory=list)
    exit: list[Callable[[], object]] = field(default_factory=list)

    @property
    def is_async(self) -> bool:
        """Any entry needs an event loop."""
        return any(entry.is_async for entry in self.by_name.values())

    def named(self, method: str) -> Entry | None:
        """The entry for a call's method; "" is the default one."""
        return self.by_name.get(method) if method else self.default


def entries_of(target: object, *, is_batched: bool, method: str = "") -> Entries:
    """The entries of a loaded target; makes the instance of a class, without running its hooks."""
    if inspect.isclass(target):
        return _class_entries(target, is_batched, method)
    if not callable(target):
        raise PreflightFailed(
            f"the handler is a {type(target).__name__}, which cannot be called",
            hint="Name a function, or a class with @stoker.method or __call__.",
        )
    entry = _entry("", target, is_batched)
    return Entries(by_name={"": entry, CALL: entry}, default=entry)


def _class_entries(cls: type, is_batched: bool, method: str) -> Entries:
    members = _members(cls)
    names = [name for name, member in members.items() if hook_of(member) == "method"]
    if CALL in members and CALL not in names:
        names.append(CALL)
    if not names:
        raise PreflightFailed(
            f"class {cls.__name__} has nothing to call",
            hint="Mark a method with @stoker.method, or define __call__.",
        )
    instance = cls()
    entries = {name: _entry(name, getattr(instance, name), is_batched) for name in names}
    default = method or (CALL if CALL in entries else names[0] if len(names) == 1 else "")
    enter = [name for name, member in members.items() if hook_of(member) == "enter"]
    if not enter:
        enter = [name for name in _ENTER_NAMES if name in members and name not in names][:1]
    return Entries(
        by_name=entries,
        default=entries.get(default),
        enter=[getattr(instance, name) for name in enter],
        exit=[getattr(instance, name) for name, member in members.items() if hook_of(member) == "exit"],
    )


def _members(cls: type) -> dict[str, object]:
    """Callable members in the order of definition, base classes first, each as the last class defines it."""
    found: dict[str, object] = {}
    for base in reversed(cls.__mro__[:-1]):
        for name, member in vars(base).items():
            if callable(member) or isinstance(member, (staticmethod, classmethod)):
                found[name] = member
    return found


def _entry(name: str, call: Callable[..., object], is_batched: bool) -> Entry:
    kind = _kind(call)
    if is_batched and kind in (EntryKind.GENERATOR, EntryKind.ASYNC_GENERATOR):
        raise PreflightFailed(
            f"a batched function must return a list, but {name or 'the function'} is a {kind.value}",
            hint="Remove batch=..., or return a list instead of yielding.",
        )
    return Entry(name=name, call=call, kind=kind, binder=Binder(call, is_batched=is_batched))


def hook_of(member: object) -> str | None:
    """ "enter", "exit" or "method" where a decorator said so."""
    hook = getattr(member, "__stoker_hook__", None)
    return hook if isinstance(hook, str) else None


def _kind(call: Callable[..., object]) -> EntryKind:
    for candidate in (call, getattr(call, "__call__", call)):  # noqa: B004  # an object that is called
        if inspect.isasyncgenfunction(candidate):
            return EntryKind.ASYNC_GENERATOR
        if inspect.iscoroutinefunction(candidate):
            return EntryKind.COROUTINE
        if inspect.isgeneratorfunction(candidate):
            return EntryKind.GENERATOR
    return EntryKind.PLAIN

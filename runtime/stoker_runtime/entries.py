"""What a loaded bundle offers to callers: one entry per function or method, with its hooks.

The rule that must not break: everything about a call that can be known at load (its kind, its parameters, its
validators) is worked out here, once, so that a call itself only runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from stoker.batch_form import BatchForm
from stoker.errors import PreflightFailed
from stoker.shapes import CALL, CallableShape, ClassShape, Kind, shape_of
from stoker_runtime.parking import parking_calls
from stoker_runtime.signature import Binder


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One callable that calls can name."""

    name: str
    call: Callable[..., object]
    kind: Kind
    binder: Binder
    batch_form: BatchForm

    @property
    def streams(self) -> bool:
        """Its results come as chunks."""
        return self.kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR)

    @property
    def is_async(self) -> bool:
        """It needs an event loop."""
        return self.kind in (Kind.ASYNC, Kind.ASYNC_GENERATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """All entries of a bundle, and the hooks around their life."""

    by_name: dict[str, Entry]
    default: Entry | None
    """What a call that names no method runs; None: it must name one."""
    enter: list[Callable[[], object]] = field(default_factory=list)
    exit: list[Callable[[], object]] = field(default_factory=list)
    instance: object = None
    """Of a class."""
    sleep: list[Callable[[], object]] = field(default_factory=list)
    wake: list[Callable[[], object]] = field(default_factory=list)
    parking: dict[str, Entry] = field(default_factory=dict)
    """What only the platform itself calls; filled once everything is loaded."""

    @property
    def is_async(self) -> bool:
        """Any entry needs an event loop."""
        hooks = (*self.sleep, *self.wake)
        return any(entry.is_async for entry in self.by_name.values()) or any(map(inspect.iscoroutinefunction, hooks))

    def find_parking(self) -> bool:
        """Whether it can be parked, now that it is loaded."""
        calls = parking_calls(self.instance, self.sleep, self.wake) if self.instance is not None else None
        self.parking.update({name: _entry(name, call, is_batched=False) for name, call in (calls or {}).items()})
        return bool(self.parking)

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
    shape = shape_of(cls)
    if not isinstance(shape, ClassShape) or not shape.entries:
        raise PreflightFailed(
            f"class {cls.__name__} has nothing to call",
            hint="Mark a method with @stoker.method, or define __call__.",
        )
    instance = cls()
    entries = {item.name: _entry(item.name, getattr(instance, item.name), is_batched) for item in shape.entries}
    default = method or (shape.default.name if shape.default is not None else "")
    return Entries(
        by_name=entries,
        default=entries.get(default),
        enter=[getattr(instance, hook.name) for hook in shape.enters],
        exit=[getattr(instance, hook.name) for hook in shape.exits],
        instance=instance,
        sleep=[getattr(instance, hook.name) for hook in shape.sleeps],
        wake=[getattr(instance, hook.name) for hook in shape.wakes],
    )


def _entry(name: str, call: Callable[..., object], is_batched: bool) -> Entry:
    shape = shape_of(call)
    kind = shape.kind if isinstance(shape, CallableShape) else Kind.FUNCTION
    if is_batched and kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR):
        raise PreflightFailed(
            f"a batched function must return a list, but {name or 'the function'} is a {kind.value.replace('_', ' ')}",
            hint="Remove batch=..., or return a list instead of yielding.",
        )
    return Entry(
        name=name, call=call, kind=kind, binder=Binder(call, is_batched=is_batched), batch_form=BatchForm(call)
    )

"""Pre-flight: can a replica be made of a class, and can callers name something in it?

The rule that must not break: a class whose bases cannot be seen is judged only by what is seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from stoker.finding import Finding
from stoker.shapes import CALL, CallableShape, ClassShape, Kind


def check_class(shape: ClassShape) -> Iterator[Finding]:
    """Findings for a class, without those for its batch."""
    yield from _entries(shape)
    if shape.init is not None and shape.init.required:
        yield Finding(
            "init_arguments",
            f"{shape.name}.__init__ needs {_listed(shape.init)}, but a replica is made without arguments",
            "Give them defaults, or set them in an @stoker.enter hook.",
        )
    hooks = {"enter": shape.enters, "exit": shape.exits, "sleep": shape.sleeps, "wake": shape.wakes}
    for label, marked in hooks.items():
        for hook in marked:
            yield from _hook(shape, hook, label)
    if shape.is_whole and bool(shape.sleeps) != bool(shape.wakes):
        there, missing = ("sleep", "wake") if shape.sleeps else ("wake", "sleep")
        yield Finding(
            "half_parked",
            f"{shape.name} has an @stoker.{there} hook and no @stoker.{missing} hook: a parked replica could not go on",
            f"Mark the method that undoes it with @stoker.{missing}.",
        )


def _entries(shape: ClassShape) -> Iterator[Finding]:
    entries = shape.entries
    if not entries and shape.is_whole:
        public = [m.name for m in shape.methods if not m.name.startswith("_") and not m.hook]
        example = public[0] if public else "predict"
        yield Finding(
            "class_without_entry",
            f"class {shape.name} has nothing to call: no @stoker.method and no __call__",
            f"Put @stoker.method above {shape.name}.{example}.",
        )
    for entry in entries:
        if entry.name.startswith("_") and entry.name != CALL:
            yield Finding(
                "method_name",
                f"{shape.name}.{entry.name} is marked @stoker.method, but callers cannot name a private method",
                f"Rename it to {entry.name.strip('_') or 'predict'!r}.",
            )
    if sum(entry.is_default for entry in entries) > 1:
        names = ", ".join(entry.name for entry in entries if entry.is_default)
        yield Finding("two_defaults", f"class {shape.name} has several default methods: {names}", "Mark only one.")
    elif len(entries) > 1 and shape.default is None:
        names = ", ".join(entry.name for entry in entries)
        yield Finding(
            "no_default_entry",
            f"class {shape.name} has several methods ({names}) and no default: every call must name one",
            "Mark one with @stoker.method(default=True), name one __call__, or always name the method.",
            is_error=False,
        )


def _hook(shape: ClassShape, hook: CallableShape, label: str) -> Iterator[Finding]:
    if hook.required:
        yield Finding(
            "hook_arguments",
            f"{shape.name}.{hook.name} is a hook for {label} and needs {_listed(hook)}, but hooks get no arguments",
            "Give them defaults, or read them from os.environ inside the hook.",
        )
    if hook.kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR):
        yield Finding(
            "hook_generator",
            f"{shape.name}.{hook.name} is a hook for {label} and yields, so its body would never run",
            "Split it: what comes before the yield into @stoker.enter, what comes after into @stoker.exit.",
        )


def _listed(shape: CallableShape) -> str:
    return ", ".join(shape.required)

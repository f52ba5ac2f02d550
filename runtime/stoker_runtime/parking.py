"""A replica's way to host memory and back: the hooks of its class, or moving the torch modules that it holds.

The rule that must not break: after ``wake`` the instance is as it was before ``sleep``; what cannot be moved back makes
the call fail, and the platform replaces the replica.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

SLEEP: Final = "@sleep"
WAKE: Final = "@wake"

Hook = Callable[[], object]


def parking_calls(instance: object, sleeps: list[Hook], wakes: list[Hook]) -> dict[str, Hook] | None:
    """What runs to park and to come back, by name; None: nothing could be parked."""
    if sleeps and wakes:
        return {SLEEP: _in_turn(sleeps), WAKE: _in_turn(wakes)}
    modules = TorchModules(instance)
    return {SLEEP: modules.sleep, WAKE: modules.wake} if modules.are_on_a_device else None


class TorchModules:
    """The torch modules among an instance's attributes, and where each was."""

    def __init__(self, instance: object) -> None:
        self._instance = instance
        self._moved: list[tuple[Any, object]] = []

    @property
    def are_on_a_device(self) -> bool:
        """Any of them is somewhere else than in host memory."""
        return any(_device_of(module) is not None for module in self._modules())

    def sleep(self) -> None:
        """To host memory; the device's memory goes back to the driver."""
        for module in self._modules():
            device = _device_of(module)
            if device is not None:
                self._moved.append((module.to("cpu"), device))
        sys.modules["torch"].cuda.empty_cache()

    def wake(self) -> None:
        """Back to where each was."""
        for module, device in self._moved:
            module.to(device)
        self._moved.clear()

    def _modules(self) -> Iterator[Any]:
        torch = sys.modules.get("torch")
        if torch is None:
            return
        for value in vars(self._instance).values() if hasattr(self._instance, "__dict__") else ():
            if isinstance(value, torch.nn.Module):
                yield value


def _device_of(module: Any) -> object | None:
    """The device of its first parameter, unless that is host memory."""
    tensor = next(module.parameters(), None)
    return None if tensor is None or tensor.device.type == "cpu" else tensor.device


def _in_turn(hooks: list[Hook]) -> Hook:
    if not any(inspect.iscoroutinefunction(hook) for hook in hooks):

        def run() -> None:
            for hook in hooks:
                hook()

        return run

    async def run_async() -> None:
        for hook in hooks:
            value = hook()
            if isinstance(value, Awaitable):
                await value

    return run_async

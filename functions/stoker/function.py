"""A function as its user holds it: callable here with ``.local()``, on the platform with ``.remote()``.

The rule that must not break: holding one costs nothing. No connection, no pickling, no heavy import before the
first remote call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stoker.errors import InvalidOption
from stoker.local_run import LocalRun
from stoker.options import FunctionOptions

if TYPE_CHECKING:  # the web client is imported at the first remote call, so that importing stoker stays fast
    from stoker.batch_run import BatchRun
    from stoker.deployment import Deployed
    from stoker.job import AsyncJob, Job
    from stoker.remote import RemoteTarget
    from stoker.streamed_call import StreamedCall


class Function:
    """User code plus its options. Made by ``@stoker.function`` or ``Function.from_name``."""

    def __init__(
        self, target: object | None, options: FunctionOptions, *, revision: int | None = None, alias: str | None = None
    ) -> None:
        self._target = target
        self.options = options
        self.revision = revision
        self.alias = alias
        self._local: LocalRun | None = None
        for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
            if target is not None and hasattr(target, attribute):
                setattr(self, attribute, getattr(target, attribute))

    @classmethod
    def from_name(
        cls, name: str, *, revision: int | None = None, alias: str | None = None, namespace: str = "default"
    ) -> Function:
        """A function that is deployed already, its newest revision unless said otherwise."""
        if revision is not None and alias is not None:
            raise InvalidOption(f"give a revision or an alias, got both: {revision!r} and {alias!r}")
        if revision is not None and (isinstance(revision, bool) or not isinstance(revision, int) or revision < 1):
            raise InvalidOption(f"revision must be a whole number >= 1, got {revision!r}")
        return cls(None, FunctionOptions(name=name, namespace=namespace), revision=revision, alias=alias)

    @property
    def target(self) -> object:
        """The user's own function or class."""
        if self._target is None:
            raise InvalidOption(
                f"{self.options.name} is known by name only, so its code is not here", hint="Call it with .remote()."
            )
        return self._target

    @property
    def __stoker_target__(self) -> object:
        return self if self._target is None else self._target

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The same as ``local``."""
        return self.local(*args, **kwargs)

    def local(self, *args: Any, **kwargs: Any) -> Any:
        """Run it here: one item in, one answer out, as a caller of the platform sees it."""
        return self._run_local("", args, kwargs)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Run it on the platform and wait for the answer."""
        return self._remote("").call(args, kwargs)

    async def remote_async(self, *args: Any, **kwargs: Any) -> Any:
        """The same, without blocking the event loop."""
        return await self._remote("").call_async(args, kwargs)

    def spawn(self, *args: Any, **kwargs: Any) -> Job:
        """Run it on the platform as a job: it is on disk when this returns, and runs whatever happens to us."""
        return self._remote("").spawn(args, kwargs)

    async def spawn_async(self, *args: Any, **kwargs: Any) -> AsyncJob:
        """The same, without blocking the event loop."""
        return await self._remote("").spawn_async(args, kwargs)

    def map(
        self,
        items: Iterable[Any],
        *,
        concurrency: int = 16,
        return_exceptions: bool = False,
        progress: bool | None = None,
    ) -> Iterator[Any]:
        """Run it for each item, ``concurrency`` at once; answers come in the order of the items."""
        return self._remote("").map(items, concurrency, return_exceptions, progress)

    def batch(
        self,
        input: Any,
        *,
        output: Any = None,
        mapping: Mapping[str, str] | None = None,
        key: str | None = None,
        **options: Any,
    ) -> BatchRun:
        """Map it over a data set on the platform: rows, files, a folder of texts, or URLs. See docs/batch_runs.md."""
        return self._remote("").batch(input, output=output, mapping=mapping, key=key, **options)

    def stream(self, *args: Any, **kwargs: Any) -> StreamedCall:
        """Run a generator on the platform; iterate over what it yields, as it yields it."""
        return self._remote("").stream(args, kwargs)

    def stream_async(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """The same for ``async for``."""
        return self._remote("").stream_async(args, kwargs)

    def deploy(self, *, dry_run: bool = True) -> Deployed:
        """Check, pack, sign and register it; raises ``PreflightFailed`` with every reason and its fix."""
        from stoker.deployment import deploy

        return deploy(self, dry_run=dry_run)

    def __getattr__(self, name: str) -> Method:
        # Only reached for names that are no attribute: the methods of a class.
        if name.startswith("_") or "_target" not in self.__dict__:
            raise AttributeError(name)
        if self._target is not None and not (isinstance(self._target, type) and hasattr(self._target, name)):
            raise AttributeError(f"{self.options.name} has no method {name!r}")
        return Method(self, name)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_local": None}

    def __repr__(self) -> str:
        at = f"@{self.revision or self.alias}" if self.revision or self.alias else ""
        return f"Function({self.options.namespace}/{self.options.name}{at})"

    def _run_local(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._local is None:
            self._local = LocalRun(self.target, is_batched=self.options.batch is not None)
        return self._local.call(method, args, kwargs)

    def _remote(self, method: str) -> RemoteTarget:
        from stoker.remote import remote_target

        return remote_target(self.options.namespace, self.options.name, self.revision or self.alias, method)


class Method:
    """One method of a class: ``Embed.encode.remote("text")``."""

    def __init__(self, function: Function, name: str) -> None:
        self._function = function
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The same as ``local``."""
        return self.local(*args, **kwargs)

    def local(self, *args: Any, **kwargs: Any) -> Any:
        """Run it here, on an instance whose enter hooks ran."""
        return self._function._run_local(self.name, args, kwargs)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Run it on the platform and wait for the answer."""
        return self._remote().call(args, kwargs)

    async def remote_async(self, *args: Any, **kwargs: Any) -> Any:
        """The same, without blocking the event loop."""
        return await self._remote().call_async(args, kwargs)

    def spawn(self, *args: Any, **kwargs: Any) -> Job:
        """Run it on the platform as a job."""
        return self._remote().spawn(args, kwargs)

    async def spawn_async(self, *args: Any, **kwargs: Any) -> AsyncJob:
        """The same, without blocking the event loop."""
        return await self._remote().spawn_async(args, kwargs)

    def map(
        self,
        items: Iterable[Any],
        *,
        concurrency: int = 16,
        return_exceptions: bool = False,
        progress: bool | None = None,
    ) -> Iterator[Any]:
        """Run it for each item, in order, ``concurrency`` at once."""
        return self._remote().map(items, concurrency, return_exceptions, progress)

    def batch(
        self,
        input: Any,
        *,
        output: Any = None,
        mapping: Mapping[str, str] | None = None,
        key: str | None = None,
        **options: Any,
    ) -> BatchRun:
        """Map it over a data set on the platform: rows, files, a folder of texts, or URLs. See docs/batch_runs.md."""
        return self._remote().batch(input, output=output, mapping=mapping, key=key, **options)

    def stream(self, *args: Any, **kwargs: Any) -> StreamedCall:
        """Run a generator method on the platform; iterate over what it yields."""
        return self._remote().stream(args, kwargs)

    def stream_async(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """The same for ``async for``."""
        return self._remote().stream_async(args, kwargs)

    def __repr__(self) -> str:
        return f"{self._function!r}.{self.name}"

    def _remote(self) -> RemoteTarget:
        return self._function._remote(self.name)

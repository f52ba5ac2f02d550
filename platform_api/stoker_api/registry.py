"""Functions, revisions and aliases: all in memory, every change in the store first.

The rule that must not break: what a caller was told is on disk; what is in memory is what is on disk; revisions never
change. Changes go one at a time.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from stoker.errors import Conflict, InvalidInput, NotFound
from stoker.options import FunctionOptions, Scaling, check_name
from stoker.spec import options_from_json, options_to_json
from stoker_api.routing import LATEST, checked_weights
from stoker_api.stores.ports import RegistryStore
from stoker_api.stores.records import AliasRecord, FunctionKey, FunctionRecord, RevisionRecord, Weights
from stoker_api.uninterrupted import uninterrupted
from stoker_runtime.clock import Clock

_TRAIL: Final = 50


@dataclass(slots=True)
class FunctionEntry:
    """One function with all that belongs to it. Read it; only the registry changes it."""

    record: FunctionRecord
    revisions: dict[int, RevisionRecord] = field(default_factory=dict)
    aliases: dict[str, AliasRecord] = field(default_factory=dict)
    parsed: dict[int, FunctionOptions] = field(default_factory=dict)

    @property
    def newest(self) -> RevisionRecord:
        """The revision with the highest number."""
        return self.revisions[max(self.revisions)]

    @property
    def scaling(self) -> Scaling | None:
        """What was set at run time."""
        text = self.record.scaling_json
        return Scaling(**json.loads(text)) if text else None

    def options(self, number: int) -> FunctionOptions:
        """The options of a revision."""
        if number not in self.parsed:
            self.parsed[number] = options_from_json(
                self.record.key.name, json.loads(self.revisions[number].options_json)
            )
        return self.parsed[number]

    def in_use(self) -> set[int]:
        """Revisions that an alias points to."""
        return {number for alias in self.aliases.values() for number, _ in alias.weights}


class Registry:
    """Write-through. ``on_change`` is told of each function that changed, after the change."""

    def __init__(
        self, store: RegistryStore, clock: Clock, on_change: Callable[[FunctionKey], None] = lambda key: None
    ) -> None:
        self._store = store
        self._clock = clock
        self.on_change = on_change
        self._entries: dict[FunctionKey, FunctionEntry] = {}
        self._next_numbers: dict[FunctionKey, int] = {}
        self._lock = asyncio.Lock()

    async def load(self) -> None:
        """Read the store; before anything else."""
        found = await self._store.load()
        for function in found.functions:
            self._next_numbers[function.key] = function.next_number
            if not function.is_deleted:
                self._entries[function.key] = FunctionEntry(function)
        for revision in found.revisions:
            self._entries[revision.key].revisions[revision.number] = revision
        for alias in found.aliases:
            self._entries[alias.key].aliases[alias.alias] = alias
        self._entries = {key: entry for key, entry in self._entries.items() if entry.revisions}

    # ---- reading

    def functions(self, namespace: str | None = None) -> list[FunctionEntry]:
        """Every function, by name."""
        keys = sorted(self._entries, key=str)
        return [self._entries[key] for key in keys if namespace in (None, key.namespace)]

    def find(self, key: FunctionKey) -> FunctionEntry | None:
        """A function, if it is there."""
        return self._entries.get(key)

    def function(self, key: FunctionKey) -> FunctionEntry:
        """A function; raises ``NotFound``."""
        entry = self._entries.get(key)
        if entry is None:
            raise NotFound(f"no function {key}", hint="`stoker list` shows what there is.")
        return entry

    def revision(self, key: FunctionKey, number: int) -> RevisionRecord:
        """A revision; raises ``NotFound``."""
        entry = self.function(key)
        if number not in entry.revisions:
            raise NotFound(f"{key} has no revision {number}", hint=f"It has {_listed(entry.revisions)}.")
        return entry.revisions[number]

    def weights(self, key: FunctionKey, reference: str) -> Weights:
        """What follows the ``@``: a number or an alias; raises ``NotFound``."""
        entry = self.function(key)
        if reference.isdigit() and reference not in entry.aliases:
            return ((self.revision(key, int(reference)).number, 1),)
        alias = entry.aliases.get(reference)
        if alias is None:
            raise NotFound(f"{key} has no alias {reference!r}", hint=f"It has {_listed(entry.aliases)}.")
        return alias.weights

    def next_number(self, key: FunctionKey) -> int:
        """What the next revision will be called."""
        return self._next_numbers.get(key, 1)

    # ---- changing

    @uninterrupted
    async def add_revision(self, revision: RevisionRecord) -> FunctionEntry:
        """Commit a revision and move ``latest`` to it."""
        async with self._lock:
            key = revision.key
            entry = self._entries.get(key)
            latest = _moved(entry, key, LATEST, ((revision.number, 1),))
            await self._store.add_revision(revision, [latest])
            self._next_numbers[key] = revision.number + 1
            if entry is None:
                record = FunctionRecord(key=key, created_at=revision.created_at, next_number=revision.number + 1)
                entry = self._entries[key] = FunctionEntry(record)
            entry.revisions[revision.number] = revision
            entry.aliases[LATEST] = latest
            self.on_change(key)
            return entry

    @uninterrupted
    async def follow(self, key: FunctionKey, number: int) -> None:
        """Move ``latest`` to a revision, if it is elsewhere."""
        async with self._lock:
            moved = _moved(self.function(key), key, LATEST, ((number, 1),))
            if moved is not self.function(key).aliases.get(LATEST):
                await self._move(key, moved)

    @uninterrupted
    async def point(self, key: FunctionKey, alias: str, given: Mapping[int, int]) -> AliasRecord:
        """Point an alias to one revision, or split it; makes it where it is new."""
        check_name("alias", alias)
        if alias.isdigit():
            raise InvalidInput(f"an alias must not be a number, got {alias!r}", hint="A number means a revision.")
        weights = checked_weights(dict(given))
        async with self._lock:
            for number, _ in weights:
                self.revision(key, number)
            return await self._move(key, _moved(self.function(key), key, alias, weights))

    @uninterrupted
    async def rollback(self, key: FunctionKey, alias: str, number: int | None) -> AliasRecord:
        """Back to where the alias pointed before, or to ``number``."""
        async with self._lock:
            entry = self.function(key)
            current = _alias(entry, alias)
            if number is not None:
                self.revision(key, number)
                return await self._move(key, _moved(entry, key, alias, ((number, 1),)))
            trail = [step for step in current.trail if all(known in entry.revisions for known, _ in step)]
            if trail:
                weights, rest = trail[-1], tuple(trail[:-1])
            else:
                before = [known for known in entry.revisions if known < min(known for known, _ in current.weights)]
                if not before:
                    raise Conflict(
                        f"{key} has no revision before {_listed(dict(current.weights))}", hint="Name one to go to."
                    )
                weights, rest = ((max(before), 1),), ()
            return await self._move(key, dataclasses.replace(current, weights=weights, trail=rest))

    async def promote(self, key: FunctionKey, alias: str, number: int | None, from_alias: str | None) -> AliasRecord:
        """Give ``alias`` a revision, or what another alias points to (``latest`` where neither is named)."""
        if number is not None:
            return await self.point(key, alias, {number: 1})
        return await self.point(key, alias, dict(_alias(self.function(key), from_alias or LATEST).weights))

    @uninterrupted
    async def delete_alias(self, key: FunctionKey, alias: str) -> None:
        """Remove an alias; raises ``NotFound``, ``Conflict`` for ``latest``."""
        async with self._lock:
            entry = self.function(key)
            _alias(entry, alias)
            if alias == LATEST:
                raise Conflict("the alias 'latest' always points somewhere", hint="Move it with promote or rollback.")
            await self._store.delete_alias(key, alias)
            del entry.aliases[alias]
            self.on_change(key)

    @uninterrupted
    async def set_scaling(self, key: FunctionKey, scaling: Scaling | None) -> None:
        """Change scaling at run time; None takes it back."""
        async with self._lock:
            entry = self.function(key)
            text = "" if scaling is None else json.dumps(dataclasses.asdict(scaling))
            await self._store.set_scaling(key, text)
            entry.record = dataclasses.replace(entry.record, scaling_json=text)
            self.on_change(key)

    @uninterrupted
    async def delete_revision(self, key: FunctionKey, number: int, *, force: bool) -> None:
        """Remove a revision; ``Conflict`` while an alias other than ``latest`` needs it, unless forced."""
        async with self._lock:
            entry = self.function(key)
            self.revision(key, number)
            if len(entry.revisions) == 1:
                raise Conflict(f"revision {number} is the only one of {key}", hint="Delete the function instead.")
            users = [alias.alias for alias in entry.aliases.values() if number in dict(alias.weights)]
            if not force and any(alias != LATEST for alias in users):
                raise Conflict(
                    f"{_listed(users)} of {key} points to revision {number}",
                    hint="Move it, or delete with --force (over HTTP: ?force=true).",
                )
            aliases = _without(entry, number)
            await self._store.delete_revision(key, number, list(aliases.values()))
            del entry.revisions[number]
            entry.parsed.pop(number, None)
            entry.aliases = aliases
            self.on_change(key)

    @uninterrupted
    async def delete_function(self, key: FunctionKey, *, force: bool) -> None:
        """Remove a function; ``Conflict`` while an alias other than ``latest`` points to it, unless forced."""
        async with self._lock:
            entry = self.function(key)
            users = [alias for alias in entry.aliases if alias != LATEST]
            if users and not force:
                raise Conflict(
                    f"{_listed(users)} still points to {key}",
                    hint="Delete the alias, or delete with --force (over HTTP: ?force=true).",
                )
            await self._store.delete_function(key)
            del self._entries[key]
            self.on_change(key)

    async def _move(self, key: FunctionKey, record: AliasRecord) -> AliasRecord:
        await self._store.put_aliases([record])
        self.function(key).aliases[record.alias] = record
        self.on_change(key)
        return record


def stored_options(options: FunctionOptions) -> dict[str, object]:
    """Options as they are kept and compared: all of them but the name."""
    return {name: value for name, value in options_to_json(options).items() if name != "name"}


def _alias(entry: FunctionEntry, alias: str) -> AliasRecord:
    if alias not in entry.aliases:
        raise NotFound(f"{entry.record.key} has no alias {alias!r}", hint=f"It has {_listed(entry.aliases)}.")
    return entry.aliases[alias]


def _moved(entry: FunctionEntry | None, key: FunctionKey, alias: str, weights: Weights) -> AliasRecord:
    current = entry.aliases.get(alias) if entry is not None else None
    if current is None:
        return AliasRecord(key=key, alias=alias, weights=weights)
    if current.weights == weights:
        return current
    return dataclasses.replace(current, weights=weights, trail=(*current.trail, current.weights)[-_TRAIL:])


def _without(entry: FunctionEntry, number: int) -> dict[str, AliasRecord]:
    """The aliases as they are once a revision is gone; ``latest`` falls back to the newest that stays."""
    kept: dict[str, AliasRecord] = {}
    for name, alias in entry.aliases.items():
        weights = tuple((known, weight) for known, weight in alias.weights if known != number)
        if not weights and name == LATEST:
            weights = ((max(known for known in entry.revisions if known != number), 1),)
        if weights:
            kept[name] = dataclasses.replace(alias, weights=weights)
    return kept


def _listed(items: object) -> str:
    assert hasattr(items, "__iter__")
    return ", ".join(str(item) for item in items)

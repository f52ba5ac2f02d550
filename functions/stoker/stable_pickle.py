"""A pickler whose bytes do not depend on the process: sets are sorted, and addresses in texts are numbered.

The rule that must not break: what is loaded equals what was dumped; only order, addresses and folders, which mean
nothing in another process, are made the same. What is told apart by identity is found there, never copied.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

_SORTABLE: Final = frozenset({str, bytes, int, float, bool, type(None)})
_ADDRESS: Final = re.compile(r"(?<=:)\d{9,}")
_ANONYMOUS: Final = "<dynamic-code>"
_SENTINELS: Final = {  # a copy of MISSING is a default value, and a copy of _FIELD makes a field vanish
    id(value): name
    for name, value in vars(dataclasses).items()
    if type(value).__module__ == "dataclasses" and not dataclasses.is_dataclass(value)
}


def dumps(target: object) -> bytes:
    """Like ``cloudpickle.dumps``; to be read with ``loads``."""
    import cloudpickle

    class StablePickler(cloudpickle.Pickler):  # type: ignore[misc]
        """Texts hash differently in each process, so their sets are written sorted, each under its own number.

        Pydantic names a model by its address ("app.Model:94343921999984"); a number of ours does as well.
        """

        def __init__(self, file: io.BytesIO) -> None:
            super().__init__(file, protocol=5)
            self._sets: dict[int, tuple[int, object]] = {}
            self._addresses: dict[str, str] = {}

        def reducer_override(self, item: object) -> object:
            if id(item) in _SENTINELS:
                return _SENTINELS[id(item)]  # by name, from the module of its class
            if isinstance(item, CodeType):  # else every line of a remote traceback says "<dynamic-code>"
                make, args = self.dispatch_table[CodeType](item)
                nowhere = (item.co_filename, _ANONYMOUS)
                return make, tuple(source_name(item.co_filename) if part in nowhere else part for part in args)
            if isinstance(item, ModuleType):  # one text or two equal ones: it depends on who imported the module
                make, args, *rest = self.dispatch_table[ModuleType](item)
                return make, tuple(sys.intern(part) if type(part) is str else part for part in args), *rest
            return super().reducer_override(item)

        def persistent_id(self, item: object) -> object:
            if type(item) is str:
                return self._text(item) if ":" in item else None
            if isinstance(item, (set, frozenset)) and type(item) in (set, frozenset):
                return self._set(item)
            return None

        def _text(self, text: str) -> object:
            if _ADDRESS.search(text) is None:
                return None
            known = {str(id(cls)) for cls in class_ids()}
            stable = _ADDRESS.sub(lambda match: self._number(match[0]) if match[0] in known else match[0], text)
            return None if stable == text else ("text", stable)

        def _number(self, address: str) -> str:
            return self._addresses.setdefault(address, str(len(self._addresses)))

        def _set(self, items: set[object] | frozenset[object]) -> object:
            if not all(type(item) in _SORTABLE for item in items):
                return None
            # held, so that no other set gets its address meanwhile
            number, _ = self._sets.setdefault(id(items), (len(self._sets), items))
            in_order = tuple(sorted(items, key=lambda item: (type(item).__name__, repr(item))))
            return ("frozenset" if isinstance(items, frozenset) else "set", number, in_order)

    out = io.BytesIO()
    StablePickler(out).dump(target)
    return out.getvalue()


def source_name(file_name: str) -> str:
    """A source file as a traceback should name it on any machine: from its outermost package on."""
    if file_name.startswith("<"):  # a shell or a notebook cell
        return _ANONYMOUS
    path = Path(file_name)
    root = path.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    return path.relative_to(root).as_posix()


def loads(payload: bytes) -> object:
    """The object behind ``dumps``. RUNS user code: for a worker, after the bundle was verified."""
    return _Unpickler(io.BytesIO(payload)).load()


def class_ids() -> Mapping[type, str]:
    """The random id that cloudpickle gave to each class which it wrote by value."""
    import cloudpickle.cloudpickle

    found: Mapping[type, str] = getattr(cloudpickle.cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", {})
    return found


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._sets: dict[int, object] = {}

    def persistent_load(self, pid: tuple[object, ...]) -> object:
        if pid[0] == "text":
            return pid[1]
        kind, number, items = pid
        assert isinstance(number, int)
        assert isinstance(items, tuple)
        if number not in self._sets:
            self._sets[number] = frozenset(items) if kind == "frozenset" else set(items)
        return self._sets[number]

"""Live objects as bytes, with the user's own modules by value, the same bytes every time.

The rule that must not break: equal code gives equal bytes in every process, or deploying twice would make two
revisions.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from types import ModuleType

from stoker.errors import PreflightFailed
from stoker.hints import resolved_hints
from stoker.local_modules import local_modules
from stoker.stable_pickle import class_ids, dumps

_SAMPLE = 64


def dumps_by_value(target: object) -> bytes:
    """Pickle ``target`` with local modules by value; raises ``PreflightFailed`` with the pickler's reason."""
    try:
        with _by_value(local_modules()), resolved_hints(target):
            return _with_stable_class_ids(dumps(target))
    except Exception as error:  # a __reduce__ of the user's may raise anything
        fix = "Create it inside the function or in an @stoker.enter hook."
        message = f"cannot be pickled: {error}"
        raise PreflightFailed(message, findings=(("unpicklable", message, fix),), hint=fix) from error


def approximate_size(value: object) -> int:
    """Bytes that ``value`` adds to a pickle, roughly; never walks far and never raises."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    if isinstance(value, dict):
        return sys.getsizeof(value) + _sampled(
            len(value), [part for pair in islice(value.items(), _SAMPLE) for part in pair]
        )
    if isinstance(value, (list, tuple, set, frozenset)):
        return sys.getsizeof(value) + _sampled(len(value), list(islice(value, _SAMPLE)))
    return sys.getsizeof(value, 64)


def _sampled(count: int, sample: list[object]) -> int:
    if not sample:
        return 0
    each = sum(sum(_leaf_sizes(item)) for item in sample) / min(count, _SAMPLE)
    return int(each * count)


def _leaf_sizes(item: object) -> Iterator[int]:
    size = getattr(item, "nbytes", None)
    yield size if isinstance(size, int) else sys.getsizeof(item, 64)
    if isinstance(item, (list, tuple)) and item:
        yield len(item) * sys.getsizeof(item[0], 64)


@contextmanager
def _by_value(modules: list[ModuleType]) -> Iterator[None]:
    import cloudpickle

    already = cloudpickle.list_registry_pickle_by_value()
    added = [module for module in modules if module.__name__ not in already]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)


def _with_stable_class_ids(payload: bytes) -> bytes:
    """Cloudpickle gives each class a random id, to know it again; derive it from the content instead."""
    used = sorted(
        (payload.find(identity.encode()), identity) for identity in class_ids().values() if identity.encode() in payload
    )
    for index, (_, identity) in enumerate(used):
        payload = payload.replace(identity.encode(), _placeholder(index))
    content = hashlib.sha256(payload).hexdigest()
    for index in range(len(used)):
        stable = hashlib.sha256(f"{content}:{index}".encode()).hexdigest()[:32]
        payload = payload.replace(_placeholder(index), stable.encode())
    return payload


def _placeholder(index: int) -> bytes:
    return hashlib.sha256(f"stoker class {index}".encode()).hexdigest()[:32].encode()

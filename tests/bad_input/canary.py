"""Pickles that leave a mark when somebody loads them."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

CANARY: Final = Path(tempfile.gettempdir(), f"stoker-canary-{os.getpid()}")


class _Canary:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {CANARY}",)


PICKLES: Final = tuple(pickle.dumps(_Canary(), protocol) for protocol in (0, 2, 5))

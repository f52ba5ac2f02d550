"""What a fork copies and must not share: random states and thread counts.

The rule that must not break: two workers of one zygote never draw the same random numbers, and no library starts more
threads than the replica was granted.
"""

from __future__ import annotations

import math
import os
import random
import sys


def reseed() -> None:
    """New random states in every library that is loaded."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(int.from_bytes(os.urandom(4), "little"))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)


def size_thread_pools(cpu: float) -> None:
    """As many threads as cores granted; before the first parallel region of this process."""
    threads = max(1, math.ceil(cpu))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["MKL_NUM_THREADS"] = str(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)

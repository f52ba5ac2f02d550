"""When a delivery that was not heard is tried again.

The rule that must not break: pure, and the same delivery is put off by the same times wherever it is asked.
"""

from __future__ import annotations

import hashlib
from typing import Final

DELAYS_S: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0)
"""After the first, second… attempt; the last one repeats."""
_SPREAD: Final = 0.2


def next_attempt_s(
    delivery_id: str, attempts: int, now_s: float, give_up_s: float, retry_after_s: float | None = None
) -> float | None:
    """When to try again after ``attempts`` failed ones; None when it is given up."""
    delay_s = DELAYS_S[min(attempts, len(DELAYS_S)) - 1]
    drawn = hashlib.blake2b(f"{delivery_id}/{attempts}".encode(), digest_size=4).digest()
    delay_s *= 1 - _SPREAD / 2 + _SPREAD * int.from_bytes(drawn, "big") / 2**32
    if retry_after_s is not None:
        delay_s = max(delay_s, min(retry_after_s, DELAYS_S[-1]))
    if now_s >= give_up_s:
        return None
    return min(now_s + delay_s, give_up_s)  # one last attempt at the very end

"""Where the time of one call went.

The rule that must not break: queue + cold + batch + decode + execute + encode is the total, to the nanosecond. What the
worker did not report and the queue did not take is ``batch``: waiting inside a frame, and the hop there and back. A
caller that joined an execution under way counts only what it saw of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stoker_runtime.invocation import Invocation

_MS_TEXT: Final = tuple(f"{microseconds / 1e3:.3f}" for microseconds in range(8_192))
_TEXT_BELOW_NS: Final = len(_MS_TEXT) * 1000
COLD_PHASES: Final = ("place", "zygote", "fork", "verify", "unpickle", "enter", "warmup", "wake")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The receipt of an ended call."""

    phases_ms: dict[str, float]
    """total, queue, cold (with its own phases beside it where there was a start), batch, decode, execute, encode."""
    cold: bool
    batch_size: int
    replica: str
    revision: int
    attempt: int
    prewarmed: bool
    """The first call of a replica that was started ahead of it: it would have waited for a start."""


def cold_share_ns(phases_ns: Mapping[str, int], ready_ns: int, accepted_ns: int) -> dict[str, int]:
    """The part of each phase of a start that a call waited for: it may have arrived in the midst of it.

    ``phases_ns`` lie one after the other in the order of ``COLD_PHASES`` and end at ``ready_ns``.
    """
    start_ns = ready_ns - sum(phases_ns.get(name, 0) for name in COLD_PHASES)
    share: dict[str, int] = {}
    for name in COLD_PHASES:
        end_ns = start_ns + phases_ns.get(name, 0)
        share[name] = max(0, end_ns - max(start_ns, accepted_ns))
        start_ns = end_ns
    return share


def receipt(invocation: Invocation) -> Receipt:
    """All of it, for JSON."""
    total, queue, cold, batch, decode, execute, encode = _split_ns(invocation)
    phases = {"total": total / 1e6, "queue": queue / 1e6, "cold": cold / 1e6}
    if cold and invocation.cold_phases_ns:
        phases |= {name: nanoseconds / 1e6 for name, nanoseconds in _fit_ns(invocation.cold_phases_ns, cold).items()}
    phases |= {"batch": batch / 1e6, "decode": decode / 1e6, "execute": execute / 1e6, "encode": encode / 1e6}
    return Receipt(
        phases_ms=phases,
        cold=invocation.is_cold,
        batch_size=invocation.batch_size,
        replica=invocation.replica_id,
        revision=invocation.revision_number,
        attempt=invocation.attempt,
        prewarmed=invocation.is_prewarmed,
    )


def server_timing(invocation: Invocation) -> bytes:
    """The value of ``Server-Timing``; durations in milliseconds."""
    total, queue, cold, batch, decode, execute, encode = _split_ns(invocation)
    if total < _TEXT_BELOW_NS and not cold:
        text = _MS_TEXT  # every call pays for this: text from a table is a sixth of formatting floats
        return (
            f"total;dur={text[total // 1000]}, queue;dur={text[queue // 1000]}, cold;dur=0.000, "
            f"batch;dur={text[batch // 1000]}, decode;dur={text[decode // 1000]}, "
            f"execute;dur={text[execute // 1000]}, encode;dur={text[encode // 1000]}"
        ).encode()
    detail = ""
    if cold and invocation.cold_phases_ns:
        parts = _fit_ns(invocation.cold_phases_ns, cold).items()
        detail = "".join(f", {name};dur={nanoseconds / 1e6:.3f}" for name, nanoseconds in parts)
    return (
        f"total;dur={total / 1e6:.3f}, queue;dur={queue / 1e6:.3f}, cold;dur={cold / 1e6:.3f}{detail}, "
        f"batch;dur={batch / 1e6:.3f}, decode;dur={decode / 1e6:.3f}, execute;dur={execute / 1e6:.3f}, "
        f"encode;dur={encode / 1e6:.3f}"
    ).encode()


def _split_ns(invocation: Invocation) -> tuple[int, int, int, int, int, int, int]:
    """total, queue, cold, batch, decode, execute, encode: each >= 0, the last six summing to the first."""
    accepted_ns, done_ns, sent_ns = invocation.accepted_ns, invocation.done_ns, invocation.sent_ns
    total = done_ns - accepted_ns
    if sent_ns >= accepted_ns and not invocation.cold_phases_ns:  # nearly every call: nothing needs to be cut to fit
        decode, execute, encode = invocation.decode_ns, invocation.execute_ns, invocation.encode_ns
        hop = done_ns - sent_ns - decode - execute - encode
        if hop >= 0:
            return total, sent_ns - accepted_ns, 0, hop, decode, execute, encode
    if total < 0:
        total = 0
    waited = min((sent_ns or done_ns) - accepted_ns, total)
    if waited < 0:
        waited = 0
    cold = 0
    if invocation.cold_phases_ns:
        cold = min(sum(invocation.cold_phases_ns.values()), waited)
    left = total - waited
    execute = min(invocation.execute_ns, left)
    decode = min(invocation.decode_ns, left - execute)
    encode = min(invocation.encode_ns, left - execute - decode)
    return total, waited - cold, cold, left - execute - decode - encode, decode, execute, encode


def _fit_ns(phases_ns: Mapping[str, int], cold_ns: int) -> dict[str, int]:
    """The phases in order, cut so that they sum to ``cold_ns``."""
    fitted: dict[str, int] = {}
    for name, nanoseconds in phases_ns.items():
        fitted[name] = min(nanoseconds, cold_ns)
        cold_ns -= fitted[name]
    return fitted

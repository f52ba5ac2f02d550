"""What a head asks for that wants a job: ``Prefer: respond-async``, how long to wait, and under which key.

The rule that must not break: a preference that cannot be read is refused by name, and no preference means a plain call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from stoker_api.gateway.refusals import BadRequest

MAX_WAIT_S: Final = 600.0
MOST_WEBHOOKS: Final = 8
IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_PREFERENCE: Final = re.compile(r"([A-Za-z-]+)(?:\s*=\s*\"?([^\";,]*)\"?)?")


@dataclass(frozen=True, slots=True)
class AsyncRequest:
    """The caller takes a job for an answer."""

    wait_s: float = 0.0
    """It would rather wait so long for the result itself."""


def read_prefer(value: bytes) -> AsyncRequest | None:
    """Read ``Prefer``; None where it does not say ``respond-async``. Raises ``BadRequest``."""
    found: dict[str, str] = {}
    for part in value.decode("latin-1").split(","):
        match = _PREFERENCE.match(part.strip())
        if match is not None:
            found.setdefault(match[1].lower(), (match[2] or "").strip())
    if "respond-async" not in found:
        return None
    return AsyncRequest(wait_s=_seconds(found.get("wait")))


def read_idempotency_key(value: bytes) -> str:
    """The key, without the quotes that the standard's draft puts around it; raises ``BadRequest``."""
    text = value.decode("latin-1")
    text = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if not IDEMPOTENCY_KEY.fullmatch(text):
        raise BadRequest(f"Idempotency-Key must be 1 to 255 visible ASCII characters, got {text[:64]!r}")
    return text


def read_webhooks(value: bytes) -> tuple[str, ...]:
    """Ids or URLs with spaces between them, and commas if one likes; raises ``BadRequest``."""
    if not value.isascii():
        raise BadRequest("Stoker-Webhook must be ids or URLs of webhooks in ASCII")
    found = tuple(filter(None, (part.strip(",") for part in value.decode("ascii").split())))
    if len(found) > MOST_WEBHOOKS:
        raise BadRequest(f"Stoker-Webhook names at most {MOST_WEBHOOKS} webhooks, got {len(found)}")
    return found


def _seconds(text: str | None) -> float:
    if text is None:
        return 0.0
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text) or float(text) > MAX_WAIT_S:
        raise BadRequest(
            f"Prefer: wait must be seconds from 0 to {MAX_WAIT_S:g}, got {text!r}",
            hint="Prefer: wait=5, respond-async",
        )
    return float(text)

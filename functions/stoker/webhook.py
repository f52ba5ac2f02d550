"""Signatures of webhooks, as `Standard Webhooks <https://www.standardwebhooks.com>`_ has them: made here, checked here.

The rule that must not break: what is signed is ``id.timestamp.body``, byte for byte as it is sent, and comparisons take
the same time whatever differs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from stoker.errors import AccessDenied, InvalidInput

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
PREFIX: Final = "whsec_"
_VERSION: Final = "v1,"


def sign_webhook(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """One signature: ``v1,`` and base64 of the HMAC-SHA256."""
    signed = b"%s.%d." % (message_id.encode(), timestamp_s) + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return _VERSION + base64.b64encode(digest).decode()


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Iterable[str],
    *,
    tolerance_s: float = 300.0,
    now_s: float | None = None,
) -> Any:
    """The event in ``body``, once a signature in ``headers`` fits one of the secrets; raises ``AccessDenied``.

    ``tolerance_s`` bounds how old a message may be, against replays: remember ids that you have seen for so long.
    """
    given = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER) if not given.get(name)]
    if missing:
        raise AccessDenied(f"the webhook has no header {missing[0]}")
    timestamp_s = _timestamp(given[TIMESTAMP_HEADER])
    now_s = datetime.now(timezone.utc).timestamp() if now_s is None else now_s
    if abs(now_s - timestamp_s) > tolerance_s:
        raise AccessDenied(f"the webhook was sent {now_s - timestamp_s:.0f} s ago, more than {tolerance_s:g} s")
    secrets = [secret] if isinstance(secret, str) else list(secret)
    expected = [sign_webhook(known, given[ID_HEADER], timestamp_s, body).encode() for known in secrets]
    found = [text.encode() for text in given[SIGNATURE_HEADER].split()]
    fits = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in found]
    if not any(fits):
        raise AccessDenied(
            "no signature of the webhook fits", hint="Is it the endpoint's secret, and the body as sent?"
        )
    return json.loads(body)


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"a webhook's secret is {PREFIX} and base64, this one is not") from None


def _timestamp(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise AccessDenied(f"{TIMESTAMP_HEADER} must be Unix seconds, got {text[:20]!r}")
    return int(text)

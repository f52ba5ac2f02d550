"""What looks like a secret, by its value or by its name.

The rule that must not break: the value itself never leaves this module.
"""

from __future__ import annotations

import re
from typing import Final

_VALUES: Final = (
    ("an AWS access key", re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a private key", re.compile(r"-----BEGIN ([A-Z ]+ )?PRIVATE KEY-----")),
    ("an API key", re.compile(r"\bsk-[A-Za-z0-9_-]{16,}")),
    ("a GitHub token", re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})")),
    ("a Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{30,}")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    ("a Google API key", re.compile(r"\bAIza[0-9A-Za-z_-]{35}")),
    ("a JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    ("a URL with a password", re.compile(r"\b[a-z][a-z0-9+]*://[^/\s:@{]+:[^/\s:@{]{3,}@")),
)
_NAME: Final = re.compile(
    r"(^|[._])(password|passwd|pwd|passphrase|secret|client_?secret|secret_?key|api_?key|access_?key|private_?key"
    r"|auth_?token|access_?token|credentials?)$",
    re.IGNORECASE,
)
_TOKEN_NAME: Final = re.compile(r"(^|[._])token$", re.IGNORECASE)
_TOKEN_VALUE: Final = re.compile(r"^(?=.*\d)[A-Za-z0-9_.=+/-]{16,}$")
_PLACEHOLDER: Final = re.compile(r"^(<.*>|\$\{?.*\}?|x+|\*+|\.+|changeme|your[-_ ].*|todo|none|null)?$", re.IGNORECASE)
_MAX_CHARS: Final = 64 * 1024


def looks_secret(name: str, value: object) -> str | None:
    """What it looks like ("an API key"), or None."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value[:_MAX_CHARS]).decode("latin-1")
    if not isinstance(value, str) or _PLACEHOLDER.match(value):
        return None
    text = value[:_MAX_CHARS]
    for kind, pattern in _VALUES:
        if pattern.search(text):
            return kind
    leaf = name.rpartition(".")[2]
    if _NAME.search(leaf) and len(text) >= 4 and not any(mark.isspace() for mark in text):
        return "a secret, by its name"
    if _TOKEN_NAME.search(leaf) and _TOKEN_VALUE.match(text):
        return "a token, by its name"
    return None

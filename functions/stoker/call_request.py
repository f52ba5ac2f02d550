"""One call as an HTTP request: its path and headers.

The rule that must not break: a name never changes the path's meaning; each part is checked or quoted.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from stoker.payload import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTarget:
    """Which function, revision and method a call means, and how it is to be treated."""

    name: str
    namespace: str = "default"
    version: int | str | None = None
    """A revision's number or an alias; None: the newest."""
    method: str = ""
    timeout_s: float | None = None
    """The call's deadline."""
    priority: str | None = None
    session: str | None = None
    """Keeps its callers on one side of a split alias."""

    @property
    def path(self) -> str:
        """Where it is posted to."""
        at = f"@{quote(str(self.version), safe='')}" if self.version is not None else ""
        return f"/n/{quote(self.namespace, safe='')}/f/{quote(self.name, safe='')}{at}"

    def headers(self, payload: Payload, *, is_stream: bool = False, wants_receipt: bool = False) -> dict[str, str]:
        """The request's headers."""
        headers = {"Content-Type": payload.content_type}
        if is_stream or payload.accept:
            headers["Accept"] = "text/event-stream" if is_stream else payload.accept
        if self.method:
            headers["Stoker-Method"] = self.method
        if self.timeout_s is not None:
            headers["Stoker-Timeout-Ms"] = str(max(1, int(self.timeout_s * 1000)))
        if self.priority is not None:
            headers["Stoker-Priority"] = self.priority
        if self.session is not None:
            headers["Stoker-Session"] = self.session
        if wants_receipt:
            headers["Stoker-Receipt"] = "1"
        return headers

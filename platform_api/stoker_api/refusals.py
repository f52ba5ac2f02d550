"""Refusals that only the control API knows.

The rule that must not break: nothing was registered or changed.
"""

from __future__ import annotations

from stoker.errors import InvalidInput


class UploadTampered(InvalidInput):
    """The bundle does not fit the signature that came with it."""

    code = "bundle_tampered"
    status = 422
    phase = "register"


class InvalidDocument(InvalidInput):
    """The body is JSON, and not of the form that the route takes."""

    code = "invalid_document"
    status = 422

    def __init__(self, detail: str, *, errors: tuple[tuple[str, str], ...] = (), hint: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.errors = errors
        """(path, message) of each wrong field."""

"""HTTP calls to a platform under test, as a caller without an SDK makes them: urllib and nothing else."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request


class PlatformClient:
    """One base URL and one token."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> object:
        """One request; the JSON of its answer. Raises ``RuntimeError`` with the problem on any error status."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {**self._headers, **headers}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(
                f"{method} {path}: {error.code} {error.read().decode(errors='replace')[:2000]}"
            ) from error

    def describe(self, name: str) -> dict[str, object]:
        """``GET /v1/functions/{name}``."""
        document = self.ask("GET", f"/v1/functions/{name}")
        assert isinstance(document, dict)
        return document

    def wait_for_zero(self, name: str) -> None:
        """Return once the function has no replica."""
        while self.describe(name)["replicas"]:
            time.sleep(0.02)

    def timed_call(self, name: str, body: object) -> tuple[float, dict[str, object]]:
        """Milliseconds that the caller waited, and the receipt."""
        began = time.perf_counter()
        answer = self.ask("POST", f"/f/{name}", body, **{"Stoker-Receipt": "1"})
        took_ms = (time.perf_counter() - began) * 1000
        assert isinstance(answer, dict)
        return took_ms, answer["receipt"]

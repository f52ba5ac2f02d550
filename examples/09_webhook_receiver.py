"""A webhook receiver that believes nothing but the signature, and takes a repeated message once.

    export STOKER_WEBHOOKS_ALLOWED_NETWORKS=127.0.0.0/8
    stoker serve
    stoker deploy examples/09_webhook_receiver.py
    stoker webhooks create http://127.0.0.1:9009/hooks
    python examples/09_webhook_receiver.py 9009 whsec_...
    stoker call count-words text="shovel coal thinly and often" --async

The setting is there because this receiver is on the loopback, which webhooks do not reach otherwise; `stoker webhooks
create` prints the secret. One line is printed for each event.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stoker

LARGEST_BODY = 1_000_000


@stoker.function(name="count-words")
def count_words(text: str) -> dict[str, int]:
    """Something to be told about."""
    return {word: text.split().count(word) for word in sorted(set(text.split()))}


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what it believes, 401 to the rest; work that takes long belongs behind the answer."""

    secret = ""
    seen: set[str] = set()  # noqa: RUF012 - one for all; a real one keeps ids for a day, on disk

    def do_POST(self) -> None:
        """One message."""
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(min(length, LARGEST_BODY))
        try:
            event = stoker.verify_webhook(dict(self.headers), body, self.secret)
        except stoker.errors.AccessDenied as error:
            print(f"refused: {error.detail}", flush=True)
            self.send_error(401)
            return
        if self.headers["webhook-id"] not in self.seen:
            self.seen.add(self.headers["webhook-id"])
            data = event["data"]
            print(f"{event['type']} {data.get('id')} {data.get('result')}", flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def main(port: int, secret: str) -> None:
    """Listen until Ctrl-C."""
    Receiver.secret = secret
    with ThreadingHTTPServer(("127.0.0.1", port), Receiver) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}/hooks", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

"""A request's head, read into what the call needs.

The rule that must not break: reading it depends on its bytes alone, so that equal heads may share one reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from stoker.errors import NotFound, PlatformError, UnsupportedContent
from stoker_api.gateway.async_request import AsyncRequest, read_idempotency_key, read_prefer, read_webhooks
from stoker_api.gateway.refusals import AsyncNotAvailable, BadRequest, MethodNotAllowed
from stoker_api.gateway.target import DEFAULT_NAMESPACE, Target, TargetKind
from stoker_runtime.frames import CallEncoding
from stoker_runtime.invocation import Priority

ARGS_TYPE: Final = "application/vnd.stoker.args+json"
EVENT_STREAM: Final = b"text/event-stream"
MAX_TIMEOUT_MS: Final = 86_400_000
_CURL_DEFAULT_TYPE: Final = "application/x-www-form-urlencoded"
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_METHOD_NAME: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NAMESPACE: Final = re.compile(rb"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_PRIORITIES: Final = {
    b"interactive": Priority.INTERACTIVE,
    b"background": Priority.BACKGROUND,
    b"batch": Priority.BATCH,
}
_PLAIN_TYPES: Final = frozenset({"", "application/json", "application/json; charset=utf-8", _CURL_DEFAULT_TYPE})


class RequestHead:
    """What a head says about its call. ``fault``: why the call cannot be, told once its turn has come."""

    __slots__ = (
        "accept",
        "content_length",
        "content_type",
        "encoding",
        "fault",
        "http_10",
        "idempotency_key",
        "inference_header_bytes",
        "is_head",
        "job_priority",
        "keep_alive",
        "kind",
        "method_name",
        "name",
        "namespace",
        "path",
        "priority",
        "request_id",
        "sticky",
        "timeout_ns",
        "token",
        "wants_100_continue",
        "wants_events",
        "wants_job",
        "wants_receipt",
        "webhooks",
    )

    def __init__(self, *, keep_alive: bool, http_10: bool = False, fault: PlatformError | None = None) -> None:
        self.kind = TargetKind.INVOKE
        self.namespace = DEFAULT_NAMESPACE
        self.name = ""
        self.path = b""
        self.keep_alive = keep_alive
        self.http_10 = http_10
        self.fault = fault
        self.is_head = False
        self.token: bytes | None = None
        self.content_type = ""
        self.content_length: int | None = None
        self.encoding = int(CallEncoding.INVOKE)
        self.accept = ""
        self.wants_events = False
        self.wants_job: AsyncRequest | None = None
        self.idempotency_key: str | None = None
        self.webhooks: tuple[str, ...] = ()
        self.job_priority: int | None = None
        self.wants_receipt = False
        self.wants_100_continue = False
        self.timeout_ns = 0
        self.priority = Priority.INTERACTIVE
        self.method_name = ""
        self.sticky: bytes | None = None
        self.request_id = ""
        self.inference_header_bytes: int | None = None

    @property
    def function(self) -> str | None:
        """``namespace/name``, for messages."""
        return f"{self.namespace}/{self.name}" if self.name else None


def read_head(
    target: Target | None,
    method: bytes,
    query: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    *,
    keep_alive: bool,
    http_10: bool,
) -> RequestHead:
    """Read a head whose header names are in lower case; ``target`` None = its names cannot be names."""
    head = RequestHead(keep_alive=keep_alive, http_10=http_10)
    if target is not None:
        head.kind, head.namespace, head.name, head.path = target.kind, target.namespace, target.name, target.path
    else:
        head.fault = NotFound(
            "the path names no function that could exist",
            hint="POST /f/{name}, /f/{name}@{revision or alias} or /n/{namespace}/f/{name}; names are a-z, 0-9, -, _.",
        )
    for name, value in headers:
        reader = _READERS.get(name)
        if reader is not None:
            try:
                reader(head, value.strip())
            except PlatformError as error:
                head.fault = head.fault or error
    if head.wants_job is not None and head.kind is not TargetKind.INVOKE:
        head.fault = head.fault or AsyncNotAvailable(
            "the inference protocols have no jobs", hint="POST /f/{name} with `Prefer: respond-async` submits one."
        )
    if head.webhooks and head.wants_job is None:
        head.fault = head.fault or BadRequest(
            "Stoker-Webhook goes with `Prefer: respond-async`", hint="A plain call is answered where it was made."
        )
    if method != b"POST":
        head.is_head = method == b"HEAD"
        head.fault = MethodNotAllowed(
            f"an invocation is a POST, got {method.decode('ascii', 'replace')}",
            hint="Send the input as the body of a POST; GET /v1/functions/{name} describes the function.",
        )
    head.wants_receipt = head.wants_receipt or b"receipt=1" in query.split(b"&")
    return head


def _authorization(head: RequestHead, value: bytes) -> None:
    scheme, _, token = value.partition(b" ")
    if scheme.lower() == b"bearer":
        head.token = token.strip()


def _content_type(head: RequestHead, value: bytes) -> None:
    text = value.decode("latin-1")
    if text.lower() in _PLAIN_TYPES:
        return  # a form is what plain `curl -d '{…}'` claims to send
    if text == ARGS_TYPE:
        head.encoding = int(CallEncoding.ARGS)
    else:
        head.content_type = text


def _content_length(head: RequestHead, value: bytes) -> None:
    head.content_length = int(value)


def _content_encoding(head: RequestHead, value: bytes) -> None:
    if value.lower() != b"identity":
        raise UnsupportedContent(
            f"content-encoding {value.decode('latin-1')!r} is not supported", hint="Send the body as it is."
        )


def _accept(head: RequestHead, value: bytes) -> None:
    if EVENT_STREAM in value:
        head.wants_events = True
        return
    media = value.partition(b";")[0].strip().lower()
    if b"," not in value and b"*" not in media and media != b"application/json":
        head.accept = media.decode("latin-1")


def _timeout(head: RequestHead, value: bytes) -> None:
    if not (value.isdigit() and len(value) <= 9 and 1 <= int(value) <= MAX_TIMEOUT_MS):
        raise BadRequest(
            f"Stoker-Timeout-Ms must be a whole number from 1 to {MAX_TIMEOUT_MS}, got {value.decode('latin-1')!r}"
        )
    head.timeout_ns = int(value) * 1_000_000


def _priority(head: RequestHead, value: bytes) -> None:
    priority = _PRIORITIES.get(value.lower())
    if priority is None:
        raise BadRequest(f"Stoker-Priority must be interactive, background or batch, got {value.decode('latin-1')!r}")
    head.priority = priority
    head.job_priority = int(priority)


def _method_name(head: RequestHead, value: bytes) -> None:
    if not _METHOD_NAME.fullmatch(value):
        raise BadRequest(f"Stoker-Method must be the name of a method, got {value.decode('latin-1')!r}")
    head.method_name = value.decode("ascii")


def _session(head: RequestHead, value: bytes) -> None:
    head.sticky = value or None


def _request_id(head: RequestHead, value: bytes) -> None:
    if _REQUEST_ID.fullmatch(value):
        head.request_id = value.decode("ascii")


def _receipt(head: RequestHead, value: bytes) -> None:
    head.wants_receipt = value == b"1"


def _expect(head: RequestHead, value: bytes) -> None:
    head.wants_100_continue = value.lower() == b"100-continue" and not head.http_10


def _prefer(head: RequestHead, value: bytes) -> None:
    head.wants_job = read_prefer(value) or head.wants_job


def _idempotency_key(head: RequestHead, value: bytes) -> None:
    head.idempotency_key = read_idempotency_key(value)


def _webhook(head: RequestHead, value: bytes) -> None:
    head.webhooks += read_webhooks(value)


def _namespace(head: RequestHead, value: bytes) -> None:
    if head.kind is TargetKind.INVOKE:
        return  # there, the path says it
    if not _NAMESPACE.fullmatch(value):
        raise BadRequest(f"Stoker-Namespace must be the name of a namespace, got {value.decode('latin-1')!r}")
    head.namespace = value.decode("ascii")
    if head.namespace != DEFAULT_NAMESPACE:
        head.path = b"/n/" + value + head.path


def _inference_header(head: RequestHead, value: bytes) -> None:
    if not value.isdigit() or len(value) > 12:
        raise BadRequest(f"Inference-Header-Content-Length must be a whole number, got {value.decode('latin-1')!r}")
    head.inference_header_bytes = int(value)


_READERS: Final = {
    b"authorization": _authorization,
    b"content-type": _content_type,
    b"content-length": _content_length,
    b"content-encoding": _content_encoding,
    b"accept": _accept,
    b"expect": _expect,
    b"idempotency-key": _idempotency_key,
    b"prefer": _prefer,
    b"x-request-id": _request_id,
    b"stoker-timeout-ms": _timeout,
    b"stoker-priority": _priority,
    b"stoker-method": _method_name,
    b"stoker-session": _session,
    b"stoker-receipt": _receipt,
    b"stoker-namespace": _namespace,
    b"stoker-webhook": _webhook,
    b"inference-header-content-length": _inference_header,
}

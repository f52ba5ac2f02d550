"""Bodies, headers and paths that no function should see, with the statuses that may answer them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tests.bad_input.canary import PICKLES

JSON: Final = {"Content-Type": "application/json"}
REFUSED: Final = frozenset({400, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class BadCall:
    """One request, and what may answer it."""

    name: str
    path: str = "/f/echo"
    method: str = "POST"
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    statuses: frozenset[int] = REFUSED


def _bodies(path: str, statuses: frozenset[int], **bodies: bytes) -> list[BadCall]:
    return [
        BadCall(name=f"{path[3:]}-{name}", path=path, body=body, statuses=statuses) for name, body in bodies.items()
    ]


def _typed(content_type: str, name: str, body: bytes, *statuses: int, path: str = "/f/echo") -> BadCall:
    headers = {"Content-Type": content_type}
    return BadCall(name=name, path=path, body=body, headers=headers, statuses=frozenset(statuses) or REFUSED)


def _input(members: str) -> bytes:
    return b'{"inputs": [{"name": "count", %b}]}' % members.encode()


def _npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00\x76\x00" + header.encode().ljust(117) + b"\n"


def _header(name: str, value: str, *statuses: int) -> BadCall:
    return BadCall(
        name=f"header-{name}-{value[:24]}", headers={**JSON, name: value}, statuses=frozenset(statuses) or REFUSED
    )


def _path(path: str, *statuses: int, method: str = "POST") -> BadCall:
    return BadCall(name=f"{method}-{path[:60]}", path=path, method=method, statuses=frozenset(statuses))


DEEP: Final = b"[" * 100_000
MALFORMED: Final = {
    "cut": b'{"x": ',
    "bare_word": b"hello",
    "two_values": b'{"x": 1} {"x": 2}',
    "single_quotes": b"{'x': 1}",
    "trailing_comma": b'{"x": 1,}',
    "nan": b'{"x": NaN}',
    "infinity": b'{"x": -Infinity}',
    "beyond_floats": b'{"x": 1e400}',
    "invalid_utf8": b'{"x": "\xff\xfe"}',
    "overlong_utf8": b'{"x": "\xc0\xaf"}',
    "utf16": '{"x": 1}'.encode("utf-16"),
    "byte_order_mark": b'\xef\xbb\xbf{"x": 1}',
    "lone_surrogate": b'{"x": "\\ud800"}',
    "bad_escape": b'{"x": "\\q"}',
    "control_character": b'{"x": "\x00"}',
    "deep_open": DEEP,
    "deep_closed": DEEP + b"]" * 100_000,
    "deep_objects": b'{"x":' * 50_000 + b"1" + b"}" * 50_000,
    "leading_zero": b'{"x": 007}',
    "long_number": b'{"x": ' + b"9" * 5000 + b"x}",
}

CALLS: Final[list[BadCall]] = [
    *_bodies("/f/echo", REFUSED, **MALFORMED, unknown_field=b'{"y": 1}', too_many=b'{"x": 1, "y": 2}'),
    *_bodies(
        "/f/typed",
        REFUSED,
        **MALFORMED,
        empty=b"",
        missing=b'{"count": 1}',
        null=b"null",
        array=b"[1, 2, 3, 4, 5]",
        wrong_type=b'{"count": "many", "point": {"x": 1}}',
        fraction=b'{"count": 1.5, "point": {"x": 1}}',
        out_of_range=b'{"count": 101, "point": {"x": 1}}',
        huge_integer=b'{"count": ' + b"9" * 400 + b', "point": {"x": 1}}',
        wrong_inside=b'{"count": 1, "point": {"x": []}}',
        wrong_literal=b'{"count": 1, "point": {"x": 1}, "rows": [{"kind": "c", "tags": []}]}',
        missing_inside=b'{"count": 1, "point": {"x": 1}, "rows": [{"kind": "a"}]}',
        unknown=b'{"count": 1, "point": {"x": 1}, "more": 1}',
        dunder=b'{"count": 1, "point": {"x": 1}, "__class__": 1}',
    ),
    *_bodies(
        "/f/batched",
        REFUSED,
        **MALFORMED,
        empty=b"",
        null=b"null",
        wrong_type=b'{"x": "a"}',
        list=b'{"x": [1]}',
        unknown=b'{"y": 1}',
    ),
    *_bodies(
        "/f/streaming", REFUSED, **MALFORMED, empty=b"", null=b"null", wrong_type=b'{"n": {}}', unknown=b'{"m": 1}'
    ),
    *(
        BadCall(
            name=f"sse-{name}",
            path="/f/streaming",
            body=body,
            headers={**JSON, "Accept": "text/event-stream"},
            statuses=REFUSED | {200},
        )
        for name, body in {"bad": b"{", "wrong": b'{"n": "x"}'}.items()
    ),
    # ---- other content types
    _typed("application/vnd.stoker.args+json", "args-no-pair", b"[1]"),
    _typed("application/vnd.stoker.args+json", "args-object", b'{"x": 1}'),
    _typed("application/vnd.stoker.args+json", "args-wrong-kinds", b"[{}, []]"),
    _typed("application/vnd.stoker.args+json", "args-too-many", b"[[1, 2, 3], {}]"),
    _typed("application/vnd.stoker.args+json", "args-twice", b'[[1], {"x": 1}]'),
    _typed("application/vnd.stoker.args+json", "args-deep", DEEP),
    _typed("multipart/form-data", "form-without-boundary", b"--a\r\n"),
    _typed("multipart/form-data; boundary=a", "form-garbage", b"\x00\xff" * 100),
    _typed("multipart/form-data; boundary=a", "form-cut", b'--a\r\nContent-Disposition: form-data; name="x"\r\n\r\n1'),
    _typed("multipart/form-data; boundary=a", "form-no-name", b"--a\r\n\r\n1\r\n--a--\r\n"),
    _typed("multipart/form-data; boundary=" + "b" * 5000, "form-long-boundary", b"--b\r\n"),
    _typed("application/x-www-form-urlencoded", "form-fields-over-limit", b"&".join(b"a=1" for _ in range(2000))),
    _typed("application/x-www-form-urlencoded", "form-no-pairs", b"=&=&%zz"),
    _typed("application/x-npy", "npy-garbage", b"\x93NUMPY\x01\x00\xff\xff{"),
    _typed(
        "application/x-npy",
        "npy-objects",
        _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
    ),
    _typed(
        "application/x-npy",
        "npy-huge",
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }".ljust(117)
        + b"\n",
    ),
    _typed(
        "application/x-npy",
        "npy-negative",
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (-5, 7), }".ljust(117)
        + b"\n",
    ),
    _typed("application/vnd.apache.arrow.stream", "arrow-garbage", b"\xff" * 64),
    _typed("application/x-safetensors", "safetensors-garbage", b"\xff" * 64),
    _typed("text/plain; charset=nonsense", "text-unknown-charset", b"abc"),
    _typed("text/plain; charset=undefined", "text-undefined-charset", b"abc"),
    _typed("text/plain; charset=idna", "text-idna-charset", b"xn--\xff"),
    _typed("text/plain; charset=zip", "text-zip-charset", b"abc"),
    _typed("text/plain", "text-invalid", b"\xff\xfe\xfd"),
    _typed("image/png", "wrong-type-for-typed", b"\x89PNG", 400, 415, 422, path="/f/typed"),
    _typed("application/octet-stream", "bytes-for-typed", b"\x00", 400, 415, 422, path="/f/typed"),
    _typed(";;;", "no-media-type", b"\x00", 400, 415, 422, path="/f/typed"),
    *(
        _typed(kind, f"pickle-{number}-{kind}", data, 400, 415, 422, path="/f/typed")
        for number, data in enumerate(PICKLES)
        for kind in ("application/json", "application/octet-stream", "application/x-pickle", "application/x-npy")
    ),
    # ---- headers
    _header("Content-Encoding", "gzip", 415),
    _header("Stoker-Timeout-Ms", "0"),
    _header("Stoker-Timeout-Ms", "-5"),
    _header("Stoker-Timeout-Ms", "soon"),
    _header("Stoker-Timeout-Ms", "9" * 400),
    _header("Stoker-Timeout-Ms", "1e3"),
    _header("Stoker-Timeout-Ms", "\xb2"),
    _header("Stoker-Priority", "urgent"),
    _header("Stoker-Method", "nothing_here", 400, 404, 422),
    _header("Stoker-Method", "__init__", 400, 404, 422),
    _header("Stoker-Method", "a.b"),
    _header("Prefer", "respond-async, wait=never", 400),
    _header("Prefer", "respond-async, wait=" + "9" * 400, 400),
    _header("Idempotency-Key", "a b", 400),
    _header("Idempotency-Key", "\xb2", 400),
    # ---- methods
    *(_path("/f/echo", 405, method=method) for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")),
    _path("/f/echo", 400, 405, method="BREW"),
    _path("/v1/functions", 405, method="PATCH"),
    # ---- names
    _path("/f/\xfcber", 400),
    *(
        _path(path, 404, 405)
        for path in (
            "/f/unknown",
            "/f/echo@99",
            "/f/echo@nowhere",
            "/f/echo@",
            "/f/echo@-1",
            "/f/echo@1@2",
            "/n/other/f/echo",
            "/n//f/echo",
            "/n/default/f/",
            "/f/",
            "/f",
            "/",
            "//f/echo",
            "/F/echo",
            "/f/../f/echo",
            "/f/%2e%2e/%2e%2e/etc/passwd",
            "/f/..%2f..%2fetc%2fpasswd",
            "/f/echo/../../etc/passwd",
            "/f/echo%00",
            "/f/echo%0a",
            "/f/echo%0d%0aX:1",
            "/f/%ff%fe",
            "/f/%F0%9F%94%A5",
            "/f/%zz",
            "/f/%",
            "/f/" + "a" * 64,
            "/f/" + "a" * 5000,
            "/f/ECHO",
            "/f/-echo",
            "/f/echo-",
            "/n/" + "b" * 300 + "/f/echo",
            "/v1/models/unknown:predict",
            "/v2/models/unknown/infer",
            "/v2/models/echo/versions/77/infer",
            "/v1/models/../echo:predict",
            "/v2/models/%2e%2e/infer",
        )
    ),
    # ---- KServe
    *(
        BadCall(name=f"v1-{name}", path="/v1/models/typed:predict", body=body)
        for name, body in {
            "no_instances": b"{}",
            "null": b'{"instances": null}',
            "string": b'{"instances": "abc"}',
            "bad": b"{",
            "deep": DEEP,
            "array": b"[]",
            "nan": b'{"instances": [NaN]}',
            "too_many": b'{"instances": [' + b"1," * 5000 + b"1]}",
            "wrong_items": b'{"instances": [1, "a", null]}',
        }.items()
    ),
    *(
        BadCall(name=f"v2-{name}", path="/v2/models/typed/infer", body=body)
        for name, body in {
            "no_inputs": b"{}",
            "bad": b"{",
            "deep": DEEP,
            "null": b'{"inputs": null}',
            "string": b'{"inputs": "a"}',
            "wrong_shape": _input('"shape": [3], "datatype": "INT64", "data": [1]'),
            "negative_shape": _input('"shape": [-1], "datatype": "INT64", "data": [1]'),
            "huge_shape": _input('"shape": [99999999999, 99999999999], "datatype": "FP64", "data": []'),
            "datatype": _input('"shape": [1], "datatype": "INT65", "data": [1]'),
            "out_of_range": _input('"shape": [1], "datatype": "INT8", "data": [300]'),
            "float_for_int": _input('"shape": [1], "datatype": "INT8", "data": ["a"]'),
            "no_data": _input('"shape": [1], "datatype": "INT8"'),
            "binary_lie": _input('"shape": [1], "datatype": "INT8", "parameters": {"binary_data_size": 99}'),
        }.items()
    ),
    BadCall(
        name="v2-header-length-lie", path="/v2/models/typed/infer", headers={"Inference-Header-Content-Length": "999"}
    ),
    BadCall(
        name="v2-header-length-word", path="/v2/models/typed/infer", headers={"Inference-Header-Content-Length": "x"}
    ),
]

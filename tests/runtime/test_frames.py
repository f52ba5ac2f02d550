"""A frame is what its docstring says, byte for byte, and copies no body."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stoker_runtime.frames import PREFIX, CallHeader, CallsHeader, FrameKind, pack


@given(st.lists(st.binary(max_size=64), max_size=5))
def test_a_frame_names_its_lengths(bodies: list[bytes]) -> None:
    calls = [CallHeader(number, "", len(body)) for number, body in enumerate(bodies)]
    wire = b"".join(pack(FrameKind.CALLS, CallsHeader(False, calls), *bodies))

    length, kind, header_bytes = PREFIX.unpack_from(wire)
    header = msgspec.msgpack.decode(wire[PREFIX.size : PREFIX.size + header_bytes], type=CallsHeader)

    assert length == len(wire) - 4
    assert kind == FrameKind.CALLS
    assert header.calls == calls
    assert wire[PREFIX.size + header_bytes :] == b"".join(bodies)


def test_a_body_is_not_copied() -> None:
    body = bytes(1 << 20)
    assert pack(FrameKind.CHUNK, None, body)[1] is body

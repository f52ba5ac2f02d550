"""What the platform and a zygote say to each other, one message a packet, descriptors beside it.

The rule that must not break: a message fits one packet, so neither side ever waits for the rest of one.
"""

from __future__ import annotations

from typing import Final

import msgspec

MAX_MESSAGE_BYTES: Final = 128 * 1024
MAX_DESCRIPTORS: Final = 4


class Configure(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """First message to a zygote: what to import, and what its workers must be able to read."""

    preload: list[str]
    optional_preload: list[str]
    readable_paths: list[str]
    probe_user_id: int  # 0: keep the user
    hidden_folder: str = ""  # what workers must not read, but for the folders below it that they need; "" = nothing
    shown_folders: list[str] = []


class Fork(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Fork a worker. Descriptors: its socket, stdout, stderr, its journal."""

    replica_id: str
    user_id: int
    scratch_dir: str
    cgroup_procs: list[str]


class Ready(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The zygote has imported what it could."""

    fence: str
    failures: list[tuple[str, str]]  # module, error
    threaded: str  # the module whose import started a thread; "" = none
    unhidden: str = ""  # why the hidden folder could not be hidden


class Forked(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """A worker exists. Descriptor: its pidfd."""

    replica_id: str
    pid: int


class ForkFailed(msgspec.Struct, tag=True, array_like=True, frozen=True):
    replica_id: str
    reason: str


class Exited(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """A worker is gone, and so is all that it had started."""

    replica_id: str
    pid: int
    status: int  # as of waitpid


Order = Configure | Fork
Event = Ready | Forked | ForkFailed | Exited

encode: Final = msgspec.msgpack.Encoder().encode
decode_order: Final[msgspec.msgpack.Decoder[Order]] = msgspec.msgpack.Decoder(Order)
decode_event: Final[msgspec.msgpack.Decoder[Event]] = msgspec.msgpack.Decoder(Event)

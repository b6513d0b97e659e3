"""One accepted request as it stands in the log: the body as it came, plus everything decided about it.

`collect` writes it, `process` and the lake read it. Verdicts travel with the body, so a replay or a rebuild gives the
same rows whatever the schemas are by then.
"""

import enum
import os
import time
import uuid

import msgspec


class Form(enum.IntEnum):
    """How events lie in a body. Told apart by the body itself, never by Content-Type."""

    ARRAY = 0
    """`[event, …]`"""
    ENVELOPE = 1
    """`{"events": [event, …], "sentAt"?}`"""
    SINGLE = 2
    """one event object"""
    NDJSON = 3
    """one event a line; blank lines don't count"""


class Verdict(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """Why the event at `index` of its batch is quarantined, decided by the collector.

    `source` is the event's own source where that can be read, else UNKNOWN_SOURCE.
    """

    index: int
    code: str
    detail: str
    source: str


class Batch(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One request. `len(events) == n`, bad ones included; event `i` of it has seq `first + i` once it is in the log."""

    batch_id: bytes
    """16 bytes, UUIDv7: the `batchId` of the answer."""
    received_us: int
    n: int
    form: Form
    body: bytes
    """The decompressed body as it came."""
    key_id: str
    """Which key sent it; `local` for the data folder's own socket, `open` under --open."""
    source: str
    """Source of events that name none."""
    id_base: bytes
    """16 bytes; see `events.derived_id`."""
    recognisable: bool = False
    """True where `id_base` comes from an Idempotency-Key, so that events without an id can be known again."""
    sent_us: int | None = None
    """The client's clock at sending."""
    source_ip: str | None = None
    user_agent: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    """Only what is quarantined, ascending by index."""
    revision: int = 0
    """Catalog revision under which the verdicts were made: it fixes the versions of all definitions."""
    replays_seq: tuple[int, ...] = ()
    """For a replay from quarantine: the quarantined seq of each event, in order. Empty otherwise."""
    suppressed: tuple[int, ...] = ()
    """Indices of quarantined events beyond the key's quarantine quota: counted, kept in the lake, not in quarantine."""
    public: bool = False
    """True for an ingest key, which may stand in a page: what its events say of `sourceIp` is not believed."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Batch)


def encode_batch(batch: Batch) -> bytes:
    return _encoder.encode(batch)


def decode_batch(payload: bytes | memoryview) -> Batch:
    return _decoder.decode(payload)


_random: list[int] = []
"""The lower 80 bits of the next ids. Asking the system for each one lets go of the interpreter every time."""
RANDOM_AHEAD = 512
_MARKS = 0x7 << 76 | 0x2 << 62
"""Version and variant."""
_FREE = (1 << 80) - 1 & ~(0xF << 76 | 0x3 << 62)


def new_uuid7(now_us: int | None = None) -> uuid.UUID:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random; sorts by time. Any thread."""
    return uuid.UUID(bytes=new_uuid7_bytes(time.time_ns() // 1000 if now_us is None else now_us))


def new_uuid7_bytes(now_us: int) -> bytes:
    """The same, 16 bytes."""
    try:
        bits = _random.pop()
    except IndexError:
        pool = os.urandom(10 * RANDOM_AHEAD)
        _random.extend(int.from_bytes(pool[at : at + 10], "big") & _FREE | _MARKS for at in range(0, len(pool), 10))
        bits = _random.pop()
    return ((now_us // 1000 & (1 << 48) - 1) << 80 | bits).to_bytes(16, "big")

"""A request's head, read without a framework: the few headers and parameters that the collector knows."""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

from headwater.collect import decode
from headwater.domain.errors import BadInput
from headwater.domain.reading import did_you_mean
from headwater.domain.values import shown

KEY_CHARACTERS_MAX = 256
AGENT_CHARACTERS_MAX = 1024
SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
PARAMETERS = ("ack", "key")


class Parameters(NamedTuple):
    durable: bool = True
    key: str | None = None


NO_PARAMETERS = Parameters()


def headers_of(pairs: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by lower-case name; of repeated ones the values joined by commas, as RFC 9110 has it."""
    found = dict(pairs)
    if len(found) != len(pairs):
        for name in found:
            found[name] = b", ".join(value for other, value in pairs if other == name)
    return found


def text_of(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def parameters_of(query: bytes) -> Parameters:
    """`?ack=durable|buffered&key=…`. Raises BadInput (BAD_PARAMETER, UNKNOWN_PARAMETER)."""
    if not query:
        return NO_PARAMETERS
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=10, errors="strict")
    except ValueError as error:
        raise BadInput(f"the address has a query that can't be read: {error}", code="BAD_PARAMETER") from error
    found = dict(pairs)
    for name in found:
        if name not in PARAMETERS:
            raise BadInput(
                f"unknown parameter {shown(name)}; {did_you_mean(name, PARAMETERS)}",
                code="UNKNOWN_PARAMETER",
                path=name[:60],
            )
    ack = found.get("ack", "durable")
    if ack not in ("durable", "buffered"):
        raise BadInput(f"ack: expected durable or buffered, got {shown(ack)}", code="BAD_PARAMETER", path="ack")
    return Parameters(ack == "durable", found.get("key"))


def content_length_of(header: bytes | None) -> int:
    """Bytes announced; 0 where nothing is. The server in front has checked the framing."""
    return int(header) if header is not None and header.isdigit() and len(header) < 19 else 0


def sent_us_of(header: bytes) -> int:
    """The client's clock at sending, from its header. Raises BadInput (INVALID_SENT_AT)."""
    return decode.sent_us_of(header.decode("latin-1"), "Headwater-Sent-At")


def idempotency_key_of(header: bytes) -> str:
    """Raises BadInput (BAD_HEADER) for an empty or overlong one."""
    if not 1 <= len(header) <= KEY_CHARACTERS_MAX:
        raise BadInput(
            f"Idempotency-Key: expected 1 to {KEY_CHARACTERS_MAX} characters, got {len(header)}",
            code="BAD_HEADER",
            path="Idempotency-Key",
        )
    return header.decode("latin-1")


def user_agent_of(header: bytes | None) -> str | None:
    return header[:AGENT_CHARACTERS_MAX].decode("latin-1") if header else None


def sane_request_id(header: bytes | None) -> bytes | None:
    return header if header is not None and SANE_REQUEST_ID.fullmatch(header) else None

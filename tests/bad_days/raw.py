"""Requests that no client library would send: bytes on a socket, and what comes back."""

import json
import socket
import uuid
from collections.abc import Mapping
from typing import Any

from tests.served import Served

CONNECT_SECONDS_MAX = 20


def event(name: str = "probe", **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "name": name, "timestamp": "2026-11-20T10:00:00.000001Z", **more}


def connected(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), CONNECT_SECONDS_MAX)


def head_of(served: Served, length: int | None, *, key: str = "sk", lines: tuple[str, ...] = ()) -> bytes:
    """The head of a POST of events, with whatever more lines it is to have."""
    head = ["POST /api/v1/events HTTP/1.1", "Host: localhost", f"Authorization: Bearer {served.keys[key]}", *lines]
    if length is not None:
        head.append(f"Content-Length: {length}")
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def answer_on(connection: socket.socket) -> tuple[int, Mapping[str, str], Any]:
    """(status, headers, body) of the one answer on it; status 0 when the server closed without one."""
    import http.client

    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, ConnectionError):
        return 0, {}, b""
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, headers, json.loads(body) if "json" in headers.get("content-type", "") else body


def exchange(served: Served, raw: bytes) -> tuple[int, Mapping[str, str], Any]:
    """Send these bytes on a connection of their own."""
    with connected(served) as connection:
        connection.sendall(raw)
        return answer_on(connection)

"""The peer N running: bench.naive on a private PostgreSQL, one process as we are one."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.postgres import private_postgres

START_SECONDS_MAX = 20


@contextmanager
def peer() -> Iterator[str]:
    """Its address. Raises RuntimeError naming what to install where PostgreSQL or its Python side is missing."""
    try:
        import asyncpg  # noqa: F401
        import fastapi  # noqa: F401
    except ImportError as error:
        raise RuntimeError(f"the peer needs {error.name}; make setup installs it") from error
    with private_postgres() as dsn:
        yield from served("bench.naive:app", NAIVE_DSN=dsn)


@contextmanager
def app(name: str) -> Iterator[str]:
    """Any other ASGI application on the same server stack."""
    yield from served(name)


def served(name: str, **environment: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", name, "--port", str(port), "--no-access-log", "--log-level", "warning"]
    stack = ["--loop", "uvloop", "--http", "httptools", "--backlog", "4096", "--no-server-header", "--no-proxy-headers"]
    process = subprocess.Popen([*command, *stack], env={**os.environ, **environment})
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the server on port {port} did not start")

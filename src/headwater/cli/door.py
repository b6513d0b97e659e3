"""How a command reaches the data: a server by URL, the server that holds the data folder by its socket, or its own.

Whatever answers, it is the same HTTP interface; a folder that nobody serves is served by this process for the moment.
"""

import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import click

from headwater.collect.importing.answers import error_of
from headwater.domain.errors import BadInput, NotFound, Unavailable

SECONDS_MAX = 120
SOCKET_NAME = "headwater.sock"
CATALOG_NAME = "catalog.sqlite"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS_MAX)
        self.socket_path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS_MAX)
        self.sock.connect(str(self.socket_path))


class Door:
    """A kept-alive HTTP client. Answers are decoded JSON; problems are raised as HeadwaterError with their code."""

    def __init__(self, connect: Callable[[], http.client.HTTPConnection], headers: Mapping[str, str]) -> None:
        self.connect = connect
        self.headers = dict(headers)
        self.connection = connect()

    def get(self, path: str, **params: Any) -> Any:
        pairs = [(name, value) for name, value in params.items() if value is not None]
        return self.call("GET", f"{path}?{urlencode(pairs, doseq=True)}" if pairs else path)

    def post(self, path: str, body: Any) -> Any:
        return self.call("POST", path, json.dumps(body).encode())

    def call(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
        status, answer, _ = self.exchange(method, path, body, headers)
        if status < 400:
            return json.loads(answer) if answer else None
        error = error_of(status, answer)
        if status == 401 and "Authorization" not in self.headers:
            error.hint = "set the environment variable HEADWATER_KEY to a key of that server"
        raise error

    def exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """(status, body, headers)."""
        sent = {**self.headers, "Content-Type": "application/json", **(headers or {})}
        try:
            self.connection.request(method, path, body, sent)
            response = self.connection.getresponse()
            return response.status, response.read(), response.headers
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            self.connection = self.connect()
            raise Unavailable(
                f"the server did not answer {method} {path}: {error}", code="NO_ANSWER", hint="is it running?"
            ) from error


@contextmanager
def open_door(data: Path, url: str | None, project: str | None, *, make: bool = False) -> Iterator[Door]:
    """The way in for `--data`, `--url` and `--project`. `make`: the command may be the first on a new folder.

    Raises Unavailable, and NotFound (NO_DATA) where there is no data folder and none is to be made.
    """
    headers = {"X-Headwater-Project": project} if project else {}
    if url:
        key = os.environ.get("HEADWATER_KEY")
        if key:
            headers["Authorization"] = f"Bearer {key}"
        yield Door(lambda: tcp_connection(url), headers)
    elif answers(data / SOCKET_NAME):
        yield Door(lambda: UnixConnection(data / SOCKET_NAME), headers)
    else:
        is_new = not (data / CATALOG_NAME).exists()
        if is_new and not make:
            raise NotFound(
                f"there is no data in {data}",
                code="NO_DATA",
                hint="name its folder with --data, or a running server with --url; 'headwater serve' makes a new one",
            )
        from headwater.boot.serve import served_for_a_moment

        if is_new:
            click.echo(f"making the data folder {data}; its keys are in {data / 'first-keys'}", err=True)
        with served_for_a_moment(data) as path:
            yield Door(lambda: UnixConnection(path), headers)


def tcp_connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"--url {url!r} is not http://host:port or https://host:port", code="BAD_URL", value=url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=SECONDS_MAX)


def answers(path: Path) -> bool:
    """Does a server listen on this socket?"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def reaching(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every command over a project takes: --data, --url, --project, --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs."),
        click.option("--project", help="Project to work on; the key's own, else `default`."),
        click.option("--url", help="A running server; its key comes from $HEADWATER_KEY."),
        click.option(
            "--data",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("headwater-data"),
            show_default=True,
            help="Data folder.",
        ),
    ):
        command = option(command)
    return command

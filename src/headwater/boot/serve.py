"""From settings to a running service, and down again: sockets, servers, signals, watchers."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import uvicorn
import uvloop

from headwater import config
from headwater.boot.connections import BoundedProtocol, bounded, room_for
from headwater.boot.house import House
from headwater.boot.locks import hold_roles, roles_of
from headwater.domain.errors import Unavailable
from headwater.observe.journal import configure, flush, get_journal

SOCKET_NAME = "headwater.sock"
STOP_SECONDS = 10
DRAIN_SECONDS = 3
TICKS_PER_SECOND = 10
"""Of uvicorn's main loop."""
REFRESH_SECONDS = 0.25
"""A change of key or schema reaches every role within a second: four looks at the revision, each < 0.1 ms."""

journal = get_journal("application")


class QuietServer(uvicorn.Server):
    """Leaves the signals to us: two servers share this process. `listening` is set once it answers."""

    def __init__(self, settings: uvicorn.Config) -> None:
        super().__init__(settings)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_SECOND == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                cast(BoundedProtocol, connection).look(now)
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(settings: config.Settings, *, on_ready: Callable[[str, House], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; returns when everything is durable and closed.

    Raises Unavailable when the folder is held by another process or the port is taken.
    """
    data = prepare_folder(settings)
    with hold_roles(data, roles_of(settings.server.role)), ExitStack() as sockets:
        tcp = sockets.enter_context(bind_tcp(settings.server.host, settings.server.port))
        unix = sockets.enter_context(bind_unix(data / socket_name(settings.server.role)))
        uvloop.run(serve(settings, data, [tcp], unix, asyncio.Event(), on_ready, signals=True))


async def serve(
    settings: config.Settings,
    data: Path,
    tcp: list[socket.socket],
    unix: socket.socket,
    stop: asyncio.Event,
    on_ready: Callable[[str, House], None] | None,
    *,
    signals: bool,
) -> None:
    loop = asyncio.get_running_loop()
    if signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    configure(settings.observe.journal, settings.observe.level)
    house = House(settings, data, loop)
    async with AsyncExitStack() as running:
        running.push_async_callback(house.close)
        await house.start()
        protocol = bounded_protocol(settings)
        servers = [http_server(house.front(local=True), [unix], protocol)]
        if tcp:
            servers.append(http_server(house.front(local=False), tcp, protocol))
        tasks = [asyncio.create_task(server.serve(sockets=where)) for server, where in servers]
        tasks.append(asyncio.create_task(watch(house, stop)))
        running.push_async_callback(drain, [server for server, _ in servers], tasks)
        for server, _ in servers:
            await server.listening.wait()
        address = address_of(tcp[0]) if tcp else str(unix.getsockname())
        house.ready(address)
        if tcp:
            house.warm_up()
        # What is here stays: to look at its 100,000 objects at every collection of all stops each thread for 20 ms, and
        # for 180 on a busy machine.
        gc.freeze()
        running.callback(gc.unfreeze)
        if on_ready is not None:
            on_ready(address, house)
        stopper = asyncio.create_task(stop.wait())
        ended, _ = await asyncio.wait([stopper, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stopper.cancel()
        journal.info("stopping", address=address)
        house.jobs.ask_stop()
        for task in ended - {stopper}:
            task.result()  # one that nobody asked to end: what it raised is told, once everything is closed
    journal.info("stopped", address=address)
    flush()


def bounded_protocol(settings: config.Settings) -> type[BoundedProtocol]:
    wanted = settings.server.connections_max
    held = room_for(wanted)
    if held < wanted:
        journal.warning("files_limited", connections_max=held, wanted=wanted, hint="raise the limit of open files")
    return bounded(held, settings.server.body_seconds_max, settings.server.answer_seconds_max)


def http_server(
    app: Any, where: list[socket.socket], protocol: type[BoundedProtocol]
) -> tuple[QuietServer, list[socket.socket]]:
    settings = uvicorn.Config(
        app,
        loop="none",
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        backlog=4096,
    )
    return QuietServer(settings), where


async def drain(servers: list[QuietServer], tasks: list[asyncio.Task[Any]]) -> None:
    """Stop taking connections, let running requests end, then cut."""
    for server in servers:
        server.should_exit = True
    _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS + 1)
    for task in late:
        task.cancel()


async def watch(house: House, stop: asyncio.Event) -> None:
    """Everything periodic that belongs to the event loop."""
    while not stop.is_set():
        await house.tick()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), REFRESH_SECONDS)


@contextmanager
def served_for_a_moment(data: Path) -> Iterator[Path]:
    """Serve a folder that nobody serves, on its socket alone, while a command works on it."""
    settings = quiet(config.load(flags={"server.data": str(data)}))
    folder = prepare_folder(settings)
    path = folder / SOCKET_NAME
    ready, failed = threading.Event(), []
    stop, loop_box = asyncio.Event(), []

    async def main() -> None:
        loop_box.append(asyncio.get_running_loop())
        await serve(settings, folder, [], unix, stop, lambda address, house: ready.set(), signals=False)

    def target() -> None:
        try:
            uvloop.run(main())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    with hold_roles(folder, roles_of("all")), bind_unix(path) as unix:
        thread = threading.Thread(target=target, name="moment")
        thread.start()
        try:
            ready.wait()
            if failed:
                raise failed[0]
            yield path
        finally:
            ready.wait()  # after a Ctrl-C at the start: before that it could not be told to stop
            if loop_box and thread.is_alive():
                loop_box[0].call_soon_threadsafe(stop.set)
            thread.join()


def quiet(settings: config.Settings) -> config.Settings:
    """A command's own words are not to be lost among lines that tell of its work; a level that was set holds."""
    if "observe.level" in settings.origins:
        return settings
    return msgspec.structs.replace(settings, observe=msgspec.structs.replace(settings.observe, level="warning"))


def prepare_folder(settings: config.Settings) -> Path:
    """Make the data folder private; everything made from here on is private too."""
    os.umask(0o077)
    data = Path(settings.server.data)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = data / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Unavailable(
            f"the data folder {data} can't be written: {error.strerror}",
            code="DATA_FOLDER_UNWRITABLE",
            hint="give this user write access, or name another folder with --data",
        ) from error
    return data


@contextmanager
def bind_tcp(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise Unavailable(
                f"can't listen on {host}:{port}: {error.strerror}",
                code="ADDRESS_TAKEN",
                hint="stop what listens there, or choose another --port (0 finds a free one)",
            ) from error
        yield listener


@contextmanager
def bind_unix(path: Path) -> Iterator[socket.socket]:
    """The folder's own socket: full rights for whoever may open it, so 0600."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(str(path))
        except OSError as error:
            raise Unavailable(
                f"can't make the socket {path}: {error}", code="ADDRESS_TAKEN", hint="use a shorter --data path"
            ) from error
        path.chmod(0o600)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def socket_name(role: str) -> str:
    return "collect.sock" if role == "collect" else SOCKET_NAME


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

"""One process per role on a data folder. The lock file names who holds it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from headwater.domain.errors import Unavailable

ROLES = ("collect", "process", "api")


def roles_of(setting: str) -> frozenset[str]:
    """`all`, `collect` or `process,api` → the set of roles."""
    return frozenset(ROLES) if setting == "all" else frozenset(setting.split(","))


@contextmanager
def hold_roles(data: Path, roles: frozenset[str]) -> Iterator[None]:
    """Hold the locks of `roles` on the folder; the kernel lets go of them however this process ends.

    Raises Unavailable (code ROLE_RUNNING) naming the process that holds one of them.
    """
    folder = data / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as held:
        for role in sorted(roles):
            descriptor = os.open(folder / f"{role}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            held.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 4096, 0).decode(errors="replace")
                raise Unavailable(
                    f"role {role!r} on {data} is held by another process: {holder or 'unknown'}",
                    code="ROLE_RUNNING",
                    hint="stop that process, or use another --data folder",
                ) from None
            card = {"pid": os.getpid(), "role": role, "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(card).encode(), 0)
        yield

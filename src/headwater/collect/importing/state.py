"""How far an import has come, kept in a small file, so that a killed one goes on where the collector acknowledged last.

It only saves time: ids follow from the lines, so sending a part twice stores nothing twice. A state that is missing,
broken, or of another file is no state.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headwater.domain.errors import Unavailable

HEAD_BYTES = 4096


class Identity(msgspec.Struct, frozen=True):
    """Which file it was: a log that grows stays the same file, a rotated or rewritten one does not."""

    device: int
    inode: int
    head_bytes: int
    head_digest: str


class Reached(msgspec.Struct, frozen=True):
    """All before `offset` (of the decompressed content) is acknowledged; `line` is the last line before it."""

    path: str
    identity: Identity
    offset: int = 0
    line: int = 0
    is_finished: bool = False


def identity_of(path: Path, head_bytes: int = HEAD_BYTES) -> Identity:
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        head = file.read(head_bytes)
    return Identity(facts.st_dev, facts.st_ino, len(head), hashlib.sha256(head).hexdigest())


def state_file(folder: Path, path: Path, told: Sequence[str]) -> Path:
    """One file per imported file and all else that decides what is sent where (`told`: destination, format, source)."""
    key = msgspec.json.encode([os.fsencode(path.resolve()).hex(), *told])
    return folder / f"{hashlib.sha256(key).hexdigest()[:32]}.json"


def read_state(file: Path, path: Path) -> Reached:
    """What was reached for `path`; nothing where the state is of another file or can't be read."""
    new = Reached(str(path).encode("utf-8", "backslashreplace").decode(), identity_of(path))
    try:
        reached = msgspec.json.decode(file.read_bytes(), type=Reached)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return new
    same = reached.identity == identity_of(path, reached.identity.head_bytes)
    return msgspec.structs.replace(reached, identity=new.identity) if same else new


def write_state(file: Path, reached: Reached) -> None:
    """Replaces the file at once; not fsynced: after a power cut an older state costs only time. Raises Unavailable."""
    fresh = file.with_suffix(".new")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(msgspec.json.encode(reached))
        fresh.replace(file)
    except OSError as error:
        raise Unavailable(f"can't keep the state of the import in {file}: {error}", value=str(file)) from error

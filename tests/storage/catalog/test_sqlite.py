import os
import resource
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.domain.errors import Damaged, Unavailable
from headwater.storage.catalog import sqlite
from headwater.storage.catalog.sqlite import SqliteCatalog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "catalog.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., SqliteCatalog]]:
    catalogs: list[SqliteCatalog] = []

    def open_one(**settings: float) -> SqliteCatalog:
        catalogs.append(sqlite.open(f"sqlite://{path}", **settings))
        return catalogs[-1]

    yield open_one
    for catalog in catalogs:
        catalog.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_wal_and_folder_are_private_whatever_the_umask(opened: Callable[[], SqliteCatalog], path: Path) -> None:
    before = os.umask(0)
    try:
        opened().put("key", "p", "a", {})
    finally:
        os.umask(before)
    assert mode(path.parent) == 0o700
    assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    assert {file.name for file in path.parent.iterdir()} >= {"catalog.sqlite", "catalog.sqlite-wal"}


def test_a_file_that_others_could_read_is_closed_to_them(opened: Callable[[], SqliteCatalog], path: Path) -> None:
    opened().close()
    path.chmod(0o644)
    opened()
    assert mode(path) == 0o600


def test_commits_are_fsynced(opened: Callable[[], SqliteCatalog]) -> None:
    catalog = opened()
    assert catalog._writer.execute("pragma synchronous").fetchone() == (2,)
    assert catalog._writer.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_no_database_is_damaged_naming_file_and_cure(
    opened: Callable[[], SqliteCatalog], path: Path
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(Damaged, match=r"catalog\.sqlite is damaged .*put back your backup") as caught:
        opened()
    assert caught.value.code == "CATALOG_DAMAGED"
    assert caught.value.path == str(path)


def test_another_programs_database_is_left_alone(opened: Callable[[], SqliteCatalog], path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as con:
        con.execute("create table theirs(x)")
    con.close()
    with pytest.raises(Damaged, match="database of another program"):
        opened()
    con = sqlite3.connect(path)
    assert con.execute("select name from sqlite_schema").fetchall() == [("theirs",)]
    con.close()


def filled(opened: Callable[[], SqliteCatalog]) -> None:
    catalog = opened()
    for n in range(60):
        catalog.put("key", "p", f"k{n:03d}", {"n": n, "filler": "x" * 500})
    catalog.close()


def test_a_truncated_file_is_found_at_start(opened: Callable[[], SqliteCatalog], path: Path) -> None:
    filled(opened)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(Damaged) as caught:
        opened()
    assert caught.value.code == "CATALOG_DAMAGED"


def test_a_flipped_bit_anywhere_is_never_served_as_another_value(
    opened: Callable[[], SqliteCatalog], path: Path
) -> None:
    filled(opened)
    whole = path.read_bytes()
    for at in range(40, len(whole), len(whole) // 37):
        flipped = bytearray(whole)
        flipped[at] ^= 0x10
        path.write_bytes(flipped)
        try:
            catalog = opened()
            for stored in catalog.list("key", "p"):
                assert stored.body == {"n": int(stored.name[1:]), "filler": "x" * 500}
            catalog.close()
        except Damaged as error:
            assert error.code == "CATALOG_DAMAGED"
        path.with_name(path.name + "-wal").unlink(missing_ok=True)
        path.with_name(path.name + "-shm").unlink(missing_ok=True)


def test_a_flipped_bit_in_a_body_is_named(opened: Callable[[], SqliteCatalog], path: Path) -> None:
    catalog = opened()
    catalog.put("key", "p", "a", {"scopes": "query"})
    catalog.close()
    path.write_bytes(path.read_bytes().replace(b'{"scopes":"query"}', b'{"scopes":"admin"}'))
    with pytest.raises(Damaged, match="version 1 of key 'a' has a wrong checksum"):
        opened().get("key", "p", "a")


def test_a_changed_object_is_in_the_file_and_not_only_in_the_wal(
    opened: Callable[[], SqliteCatalog], path: Path, tmp_path: Path
) -> None:
    catalog = opened()
    catalog.put("key", "p", "a", {"revokedAt": "now"})
    copy = tmp_path / "copy.sqlite"  # as if everything in the WAL were lost
    copy.write_bytes(path.read_bytes())
    con = sqlite3.connect(copy)
    assert con.execute("select body from versions").fetchall() == [('{"revokedAt":"now"}',)]
    con.close()


def test_a_lock_held_too_long_is_unavailable(opened: Callable[..., SqliteCatalog], path: Path) -> None:
    catalog = opened(busy_seconds_max=0.2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(Unavailable, match=r"held by another writer for more than 0\.2 s") as caught:
        catalog.put("key", "p", "a", {})
    assert caught.value.code == "CATALOG_BUSY"
    assert catalog.revision() == 0  # readers go on
    other.execute("rollback")
    other.close()
    assert catalog.put("key", "p", "a", {}).version == 1


def test_a_disk_that_is_full_is_unavailable_and_nothing_is_changed(opened: Callable[[], SqliteCatalog]) -> None:
    catalog = opened()
    catalog.put("key", "p", "a", {"n": 1})
    pages = catalog._writer.execute("pragma page_count").fetchone()[0]
    catalog._writer.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(Unavailable, match="free some space") as caught:
        catalog.put("key", "p", "a", {"n": 2, "x": "y" * 100_000})
    assert caught.value.code == "DISK_FULL"
    assert catalog.revision() == 1
    catalog._writer.execute("pragma max_page_count = 1000000")
    assert catalog.put("key", "p", "a", {"n": 2}).version == 2


def test_a_failing_write_to_the_file_is_unavailable_and_the_catalog_goes_on(path: Path) -> None:
    """In a process of its own: the limit on file size stands for a disk that refuses to write."""
    script = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from headwater.domain.errors import Unavailable
from headwater.storage.catalog import open_catalog
catalog = open_catalog("sqlite://{path}")
catalog.put("key", "p", "a", {{"n": 1}})
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
try:
    catalog.put("key", "p", "b", {{"x": "y" * 200_000}})
except Unavailable as error:
    print(error.code)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(catalog.put("key", "p", "c", {{}}).version, catalog.revision(), catalog.get("key", "p", "b"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    code, state = done.stdout.splitlines()
    assert code in ("DISK_FULL", "CATALOG_UNAVAILABLE", "OUTCOME_UNKNOWN"), done.stderr
    assert state == "1 2 None"


def test_a_path_that_cannot_be_opened_is_unavailable_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="check the folder, its owner and its rights"):
        sqlite.open(f"sqlite://{tmp_path}/file/catalog.sqlite")


def test_readers_do_not_wait_for_a_writer(opened: Callable[[], SqliteCatalog]) -> None:
    catalog = opened()
    catalog.put("key", "p", "a", {})
    with catalog._lock:
        assert catalog.revision() == 1


def test_an_old_answer_is_forgotten(opened: Callable[[], SqliteCatalog], monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = opened()
    monkeypatch.setattr(sqlite, "ANSWER_KEPT_US", -1)
    assert catalog.remember("p", "s", "k", "first") is None
    monkeypatch.undo()
    assert catalog.recall("p", "s", "k") is None
    assert catalog.remember("p", "s", "k", "second") is None
    assert catalog.remember("p", "s", "k", "third") == "second"
    assert catalog._read("select count(*) from answers") == [(1,)]


def test_closing_while_others_read_ends_in_a_clear_answer(opened: Callable[[], SqliteCatalog]) -> None:
    catalog = opened()
    codes: list[str] = []
    started = threading.Barrier(5)

    def read() -> None:
        started.wait()
        while True:
            try:
                catalog.revision()
            except Unavailable as error:
                codes.append(error.code)
                return

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    catalog.close()
    for thread in threads:
        thread.join(10)
    assert codes == ["CATALOG_CLOSED"] * 4
    assert not catalog._idle


def test_the_revision_costs_less_than_a_tenth_of_a_millisecond(opened: Callable[[], SqliteCatalog]) -> None:
    catalog = opened()
    catalog.put("key", "p", "a", {})
    catalog.revision()
    took = []
    for _ in range(200):
        started = time.perf_counter()
        catalog.revision()
        took.append(time.perf_counter() - started)
    assert sorted(took)[100] < 0.0001


def test_no_file_handles_are_left_after_close(opened: Callable[[], SqliteCatalog]) -> None:
    fds = Path("/proc/self/fd")
    if not fds.exists() or resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 0:
        pytest.skip("needs /proc/self/fd")
    before = len(list(fds.iterdir()))
    for _ in range(3):
        catalog = opened()
        catalog.put("key", "p", "a", {})
        catalog.revision()
        catalog.close()
    assert len(list(fds.iterdir())) <= before


def test_opening_it_twice_in_one_process_keeps_the_locks_of_the_first(
    opened: Callable[[], SqliteCatalog], path: Path
) -> None:
    """Closing any descriptor of a file drops the process's locks on it; then another process that leaves would take
    itself for the last one and remove the WAL under our hands."""
    first = opened()
    first.put("key", "p", "a", {})
    opened()
    script = (
        "import sys\nfrom headwater.storage.catalog import open_catalog\ncatalog = open_catalog(sys.argv[1])\n"
        "catalog.put('key', 'p', sys.argv[2], {})\nprint(sum(catalog.refused('p', 0, 9).values()))\ncatalog.close()"
    )

    def other(name: str) -> str:
        command = [sys.executable, "-c", script, f"sqlite://{path}", name]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    assert other("b") == "0"
    first.add_refused("p", {(1, "web"): 5})  # in the WAL only
    assert other("c") == "5"
    assert [stored.name for stored in first.list("key", "p")] == ["a", "b", "c"]

"""What every catalog promises, over all backends: embedded ones always, others by $HEADWATER_TEST_CATALOG_<NAME>."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.domain.errors import BadInput, Conflict, TooLarge, Unavailable
from headwater.storage.catalog import KNOWN, open_catalog
from headwater.storage.catalog.base import Catalog, every
from headwater.storage.log.base import SegmentCounts

EMBEDDED = {"sqlite"}


@pytest.fixture(params=sorted(KNOWN))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param in EMBEDDED:
        return f"{request.param}://{tmp_path}/catalog.sqlite"
    variable = f"HEADWATER_TEST_CATALOG_{request.param.upper()}"
    if variable not in os.environ:
        pytest.skip(f"needs ${variable}")
    return os.environ[variable]


@pytest.fixture
def opened() -> Iterator[Callable[[str], Catalog]]:
    catalogs: list[Catalog] = []

    def open_one(url: str) -> Catalog:
        catalogs.append(open_catalog(url))
        return catalogs[-1]

    yield open_one
    for catalog in catalogs:
        catalog.close()


@pytest.fixture
def catalog(url: str, opened: Callable[[str], Catalog]) -> Catalog:
    return opened(url)


def run(script: str, url: str) -> "subprocess.Popen[str]":
    """Another process with `catalog` open on the same URL; `say(x)` prints a line at once."""
    head = (
        "import sys\nfrom headwater.storage.catalog import open_catalog\n"
        "def say(x): print(x, flush=True)\ncatalog = open_catalog(sys.argv[1])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + script, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: "subprocess.Popen[str]") -> str:
    out, _ = process.communicate(timeout=60)
    return out


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"unknown scheme 'etcd' .* known: sqlite"):
        open_catalog("etcd://h")


def test_a_new_catalog_is_empty_at_revision_0(catalog: Catalog) -> None:
    assert catalog.revision() == 0
    assert catalog.get("schema", "default", "signup") is None
    assert list(catalog.list("schema", "default")) == []


def test_what_was_put_comes_back_whole(catalog: Catalog) -> None:
    body = {"text": "ümläut '\" \u2028", "list": [1, 2.5, None, True], "deep": {"a": {"b": []}}, "big": 2**60}
    put = catalog.put("schema", "default", "signup", body)
    got = catalog.get("schema", "default", "signup")
    assert got == put
    assert got is not None and got.body == body and got.version == 1
    assert got.created_us == got.updated_us > 1_700_000_000_000_000


def test_versions_count_up_and_all_stay_readable(catalog: Catalog) -> None:
    for n in range(1, 4):
        assert catalog.put("schema", "p", "a", {"n": n}).version == n
    versions = catalog.versions("schema", "p", "a")
    assert [(v.version, v.body["n"]) for v in versions] == [(3, 3), (2, 2), (1, 1)]
    assert len({v.created_us for v in versions}) == 1


def test_a_deleted_object_keeps_its_versions_and_a_new_one_counts_on(catalog: Catalog) -> None:
    catalog.put("schema", "p", "a", {"n": 1})
    assert catalog.delete("schema", "p", "a") is True
    assert catalog.delete("schema", "p", "a") is False
    assert catalog.get("schema", "p", "a") is None
    assert [v.version for v in catalog.versions("schema", "p", "a")] == [1]
    assert catalog.put("schema", "p", "a", {"n": 2}, if_version=0).version == 2


def test_create_only_if_new(catalog: Catalog) -> None:
    catalog.put("key", "p", "a", {}, if_version=0)
    with pytest.raises(Conflict, match="key 'a' exists already, at version 1") as caught:
        catalog.put("key", "p", "a", {}, if_version=0)
    assert caught.value.code == "ALREADY_EXISTS"


def test_a_lost_update_is_refused_and_changes_nothing(catalog: Catalog) -> None:
    catalog.put("key", "p", "a", {"n": 1})
    catalog.put("key", "p", "a", {"n": 2}, if_version=1)
    revision = catalog.revision()
    for change in (
        lambda: catalog.put("key", "p", "a", {"n": 3}, if_version=1),
        lambda: catalog.delete("key", "p", "a", if_version=1),
        lambda: catalog.put("key", "p", "gone", {}, if_version=4),
        lambda: catalog.delete("key", "p", "gone", if_version=4),
    ):
        with pytest.raises(Conflict) as caught:
            change()
        assert caught.value.code == "VERSION_MISMATCH"
    assert catalog.revision() == revision
    got = catalog.get("key", "p", "a")
    assert got is not None and got.body == {"n": 2}


def test_of_many_writers_on_one_version_exactly_one_wins(catalog: Catalog) -> None:
    catalog.put("key", "p", "a", {"winner": None})
    won: list[int] = []
    start = threading.Barrier(8)

    def write(n: int) -> None:
        start.wait()
        try:
            catalog.put("key", "p", "a", {"winner": n}, if_version=1)
            won.append(n)
        except Conflict:
            pass

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = catalog.get("key", "p", "a")
    assert got is not None and [got.body["winner"]] == won and got.version == 2


def test_objects_of_other_kinds_and_projects_are_not_seen(catalog: Catalog) -> None:
    catalog.put("schema", "p", "a", {})
    assert catalog.get("schema", "q", "a") is None
    assert catalog.get("metric", "p", "a") is None
    assert catalog.versions("schema", "q", "a") == []


def test_list_is_by_name_and_pages_after_a_name(catalog: Catalog) -> None:
    for name in ("c", "a", "B", "d'; drop table objects; --"):
        catalog.put("schema", "p", name, {"name": name})
    assert [s.name for s in catalog.list("schema", "p")] == ["B", "a", "c", "d'; drop table objects; --"]
    assert [s.name for s in catalog.list("schema", "p", after="B", limit=2)] == ["a", "c"]


def test_every_gives_all_pages(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        catalog.put("schema", "p", f"n{n}", {})
    whole = catalog.list
    monkeypatch.setattr(catalog, "list", lambda *a, after="": whole(*a, after=after, limit=2))
    assert [s.name for s in every(catalog, "schema", "p")] == ["n0", "n1", "n2", "n3", "n4"]


def test_each_change_of_objects_raises_the_revision_by_one_and_counts_do_not(catalog: Catalog) -> None:
    catalog.put("schema", "p", "a", {})
    catalog.put("schema", "p", "a", {})
    catalog.delete("schema", "p", "a")
    assert catalog.revision() == 3
    catalog.delete("schema", "p", "a")
    catalog.add_refused("p", {(1, "web"): 2})
    catalog.add_trimmed("p", SegmentCounts(b"x" * 16, 1, 9, {(1, "web"): 9}))
    catalog.remember("p", "POST /keys", "k", "{}")
    assert catalog.revision() == 3


def test_an_idempotency_key_gives_the_first_answer_again(catalog: Catalog) -> None:
    assert catalog.recall("p", "POST /keys", "k") is None
    assert catalog.remember("p", "POST /keys", "k", "first") is None
    assert catalog.recall("p", "POST /keys", "k") == "first"
    assert catalog.remember("p", "POST /keys", "k", "second") == "first"
    assert catalog.remember("q", "POST /keys", "k", "other project") is None
    assert catalog.remember("p", "POST /schemas", "k", "other scope") is None


def test_a_segment_trimmed_twice_counts_once(catalog: Catalog) -> None:
    one = SegmentCounts(b"a" * 16, 1, 10, {(7, "web"): 6, (8, "(unknown)"): 4})
    same_segment_of_another_log = SegmentCounts(b"b" * 16, 1, 5, {(7, "web"): 5})
    for counts in (one, same_segment_of_another_log, one):
        catalog.add_trimmed("p", counts)
    assert sorted(catalog.trimmed("p"), key=lambda c: c.log_id) == [one, same_segment_of_another_log]
    assert list(catalog.trimmed("q")) == []


def test_refused_counts_add_up_by_minute_and_source(catalog: Catalog) -> None:
    catalog.add_refused("p", {(1, "web"): 2, (2, "app"): 1})
    catalog.add_refused("p", {(1, "web"): 3})
    catalog.add_refused("q", {(1, "web"): 9})
    assert catalog.refused("p", 1, 2) == {(1, "web"): 5}
    assert catalog.refused("p", 0, 9) == {(1, "web"): 5, (2, "app"): 1}


def test_names_and_bodies_have_limits(catalog: Catalog) -> None:
    with pytest.raises(BadInput, match="at most 512 printable characters, got 513"):
        catalog.put("schema", "p", "x" * 513, {})
    with pytest.raises(BadInput):
        catalog.put("schema", "p", "a\nb", {})
    with pytest.raises(TooLarge) as caught:
        catalog.put("schema", "p", "a", {"x": "y" * 1_048_576})
    assert caught.value.code == "OBJECT_TOO_LARGE"
    assert catalog.revision() == 0


def test_everything_is_there_after_a_reopen(url: str, opened: Callable[[str], Catalog]) -> None:
    first = opened(url)
    first.put("schema", "p", "a", {"n": 1})
    first.add_refused("p", {(1, "web"): 2})
    first.close()
    again = opened(url)
    got = again.get("schema", "p", "a")
    assert got is not None and got.body == {"n": 1}
    assert again.revision() == 1
    assert again.refused("p", 0, 9) == {(1, "web"): 2}


def test_a_closed_catalog_says_so(catalog: Catalog) -> None:
    catalog.revision()
    catalog.close()
    catalog.close()
    for call in (catalog.revision, lambda: catalog.put("schema", "p", "a", {})):
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.code == "CATALOG_CLOSED"


def test_two_processes_see_each_others_revision_and_objects(url: str, catalog: Catalog) -> None:
    other = run(
        "for line in sys.stdin:\n    say(f\"{catalog.revision()} {catalog.get('key','p','a').body['n']}\")", url
    )
    assert other.stdin is not None
    for n in (1, 2):
        catalog.put("key", "p", "a", {"n": n})
        other.stdin.write("look\n")
        other.stdin.flush()
        assert line_of(other) == f"{n} {n}"
    finish(other)
    finish(run("catalog.put('key', 'p', 'b', {})", url))
    assert catalog.revision() == 3
    assert catalog.get("key", "p", "b") is not None


def test_writers_in_several_processes_lose_no_change(url: str, catalog: Catalog) -> None:
    script = "who = sys.stdin.readline().strip()\nfor n in range(15): catalog.put('key', 'p', f'{who}-{n}', {})"
    others = [run(script, url) for _ in range(3)]
    for n, other in enumerate(others):
        assert other.stdin is not None
        other.stdin.write(f"w{n}\n")
        other.stdin.flush()
    for other in others:
        finish(other)
        assert other.returncode == 0
    assert catalog.revision() == 45
    assert len(catalog.list("key", "p")) == 45


def test_processes_that_start_together_make_one_catalog(url: str, opened: Callable[[str], Catalog]) -> None:
    others = [run(f"catalog.put('key', 'p', '{n}', {{}}); say('done')", url) for n in range(5)]
    assert [finish(other).strip() for other in others] == ["done"] * 5
    assert opened(url).revision() == 5


def test_kill_9_in_the_middle_of_writes_loses_nothing_that_returned(url: str, opened: Callable[[str], Catalog]) -> None:
    script = (
        "start = len(catalog.list('key', 'p'))\n"
        "for n in range(start, 10**6): catalog.put('key', 'p', f'{n:07d}', {'n': n}); say(n)"
    )
    acknowledged = -1
    for kills in range(4):
        writer = run(script, url)
        for _ in range(5 + 3 * kills):
            acknowledged = int(line_of(writer))
        writer.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, finish(writer).split())])
    catalog = opened(url)
    stored = catalog.list("key", "p")
    assert len(stored) in (acknowledged + 1, acknowledged + 2)  # the last may have been written and not yet said
    assert [s.body["n"] for s in stored] == list(range(len(stored)))
    assert catalog.revision() == len(stored)

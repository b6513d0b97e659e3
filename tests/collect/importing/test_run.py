import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headwater.collect.importing.answers import answer_of
from headwater.collect.importing.formats import format_of
from headwater.collect.importing.run import CHUNK_BYTES_MAX, CHUNK_EVENTS_MAX, Progress, import_files
from headwater.domain.errors import BadInput, NotFound, Overloaded, Refused, TooLarge, Unavailable


def lines_file(folder: Path, n: int, name: str = "e.ndjson") -> Path:
    path = folder / name
    path.write_text("".join(f'{{"name":"n","data":{{"attributes":{{"n":{number}}}}}}}\n' for number in range(n)))
    return path


def test_good_lines_are_stored_and_bad_ones_quarantined_with_file_and_line(tmp_path: Path, shelf: Any) -> None:
    path = tmp_path / "mixed.ndjson"
    path.write_text('{"name":"a"}\nnot json\n\n{"name":7}\n{"name":"b"}\n')
    report = import_files([path], shelf.send)
    assert (report.lines, report.accepted, report.quarantined, report.exit_code) == (4, 2, 2, 3)
    assert [(one.file, one.line) for one in report.rejected] == [("mixed.ndjson", 2), ("mixed.ndjson", 4)]
    unread, wrong = shelf.quarantined
    assert unread["import"] == {
        "file": "mixed.ndjson",
        "line": 2,
        "code": "MALFORMED_JSON",
        "detail": unread["import"]["detail"],
    }
    assert unread["data"]["attributes"] == "not json"
    assert wrong["name"] == 7
    assert wrong["data"]["metadata"]["batchId"] == "mixed.ndjson:4"


@pytest.mark.parametrize("name", ["e.ndjson", "e.json", "e.csv", "e.log"])
def test_the_same_file_twice_stores_nothing_twice_even_without_ids_and_times(
    tmp_path: Path, shelf: Any, name: str
) -> None:
    path = tmp_path / name
    line = '192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "-"'
    path.write_text(
        {
            "e.ndjson": '{"name":"a"}\n{"name":"a"}\nbad\n',
            "e.json": '[{"name":"a"},{"name":"a"},bad]',
            "e.csv": "name,x\na,1\na,1\nbad\n",
            "e.log": f"{line}\n{line}\nbad\n",
        }[name]
    )
    states = tmp_path / "states"
    first = import_files([path], shelf.send, state_folder=states)
    again = import_files([path], shelf.send, state_folder=states)
    assert (first.accepted, first.duplicate, first.quarantined, first.exit_code) == (2, 0, 1, 3)
    assert (again.accepted, again.duplicate, again.quarantined, again.files[0].bad_known) == (0, 2, 0, 1)
    assert (len(shelf.stored), len(shelf.quarantined)) == (2, 1)


def test_a_log_that_has_grown_sends_its_new_bad_lines_and_no_old_one_again(tmp_path: Path, shelf: Any) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text('bad 1\n{"name":"a"}\n')
    import_files([path], shelf.send, state_folder=tmp_path / "states")
    with path.open("a") as file:
        file.write('{"name":"b"}\nbad 2\n')
    report = import_files([path], shelf.send, state_folder=tmp_path / "states")
    assert (report.accepted, report.duplicate, report.quarantined) == (1, 1, 1)
    assert [one["data"]["attributes"] for one in shelf.quarantined] == ["bad 1", "bad 2"]


def test_another_destination_source_or_content_is_another_import(tmp_path: Path, shelf: Any) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text("bad 1\n")
    states = tmp_path / "states"
    for arguments in ({}, {"destination": "other"}, {"source": "s"}):
        import_files([path], shelf.send, state_folder=states, **arguments)
    path.write_text("bad 2\n")
    import_files([path], shelf.send, state_folder=states)
    assert [one["data"]["attributes"] for one in shelf.quarantined] == ["bad 1", "bad 1", "bad 1", "bad 2"]


def test_a_source_can_be_given_and_events_keep_their_own(tmp_path: Path, shelf: Any) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text('{"name":"a"}\n{"name":"a","source":"own"}\n')
    import_files([path], shelf.send, source="given")
    assert [event["source"] for event in shelf.stored.values()] == ["given", "own"]


def test_chunks_are_bounded_by_events_and_by_bytes(tmp_path: Path) -> None:
    sizes: list[tuple[int, int]] = []

    def send(body: bytes, headers: object) -> dict[str, Any]:
        n = len(json.loads(body))
        sizes.append((n, len(body)))
        return {"accepted": n, "duplicate": 0, "quarantined": 0}

    import_files([lines_file(tmp_path, 2500)], send)
    assert [n for n, _ in sizes] == [CHUNK_EVENTS_MAX, CHUNK_EVENTS_MAX, 500]
    sizes.clear()
    big = tmp_path / "big.ndjson"
    big.write_text("".join(f'{{"name":"{"x" * 900_000}{number}"}}\n' for number in range(12)))
    import_files([big], send)
    assert sum(n for n, _ in sizes) == 12
    assert all(size < CHUNK_BYTES_MAX + (1 << 20) for _, size in sizes)


def test_progress_goes_from_file_to_file_up_to_all_bytes(tmp_path: Path, shelf: Any) -> None:
    paths = [lines_file(tmp_path, 2500, "a.ndjson"), lines_file(tmp_path, 10, "b.ndjson")]
    told: list[Progress] = []
    import_files(paths, shelf.send, on_progress=told.append)
    done = [progress.bytes_done for progress in told]
    assert done == sorted(done)
    assert done[-1] == told[-1].bytes_total == sum(path.stat().st_size for path in paths)
    assert told[-1].accepted == 2510


def test_a_file_that_can_not_be_read_does_not_stop_the_others(tmp_path: Path, shelf: Any) -> None:
    report = import_files([tmp_path / "none.ndjson", lines_file(tmp_path, 5)], shelf.send)
    assert [file.error and file.error.code for file in report.files] == ["UNREADABLE_FILE", None]
    assert (report.accepted, report.exit_code) == (5, 3)
    assert import_files([tmp_path / "none.ndjson"], shelf.send).exit_code == 1
    assert report.as_json()["files"][0]["error"]["code"] == "UNREADABLE_FILE"


def test_an_overloaded_collector_is_waited_for_as_long_as_it_says(tmp_path: Path, shelf: Any) -> None:
    waits: list[float] = []
    shelf.failures = [Overloaded("slow down", retry_after_seconds=7.0), Unavailable("outcome unknown")]
    report = import_files([lines_file(tmp_path, 5)], shelf.send, pause=waits.append)
    assert (report.accepted, report.exit_code) == (5, 0)
    assert waits == [7.0, 0.5]


@pytest.mark.parametrize(
    "error", [Refused("no"), NotFound("no such project"), Unavailable("away", retry_after_seconds=1000.0)]
)
def test_a_collector_that_refuses_stops_all_and_the_report_tells_what_is_in(
    tmp_path: Path, shelf: Any, error: Exception
) -> None:
    paths = [lines_file(tmp_path, 2500), lines_file(tmp_path, 5, "b.ndjson")]
    sent = shelf.send

    def send(body: bytes, headers: dict[str, str]) -> Any:
        if shelf.requests == 1:
            shelf.failures = [error]
        return sent(body, headers)

    report = import_files(paths, send)
    assert [file.error for file in report.files] == [error, error]
    assert (report.accepted, report.exit_code) == (1000, 3)
    assert shelf.requests == 2


def test_a_chunk_that_is_too_large_for_the_collector_is_halved_until_it_is_taken(tmp_path: Path, shelf: Any) -> None:
    def send(body: bytes, headers: dict[str, str]) -> Any:
        if len(body) > 10_000:
            raise TooLarge("the body is larger than 10000 bytes", code="BODY_TOO_LARGE")
        return shelf.send(body, headers)

    path = lines_file(tmp_path, 1000)
    with path.open("a") as file:
        file.write(f'{{"name":"{"x" * 20_000}"}}\n{{"name":"last"}}\n')
    report = import_files([path], send)
    assert (report.accepted, report.quarantined) == (1001, 1)
    assert shelf.quarantined[0]["import"]["code"] == "BODY_TOO_LARGE"
    assert shelf.quarantined[0]["import"]["line"] == 1001


def test_a_collector_that_takes_no_body_at_all_is_asked_a_few_times_only(tmp_path: Path, shelf: Any) -> None:
    shelf.failures = [BadInput("no") for _ in range(10_000)]
    report = import_files([lines_file(tmp_path, 1000)], shelf.send)
    assert report.exit_code == 1
    assert shelf.requests < 20


def test_an_answer_says_what_it_means() -> None:
    assert answer_of(201, b'{"accepted":1}') == {"accepted": 1}
    problem = b'{"code":"LOG_BACKLOG","detail":"too far behind","hint":"later"}'
    for status, kind in ((429, Overloaded), (503, Unavailable), (413, TooLarge), (403, Refused), (400, BadInput)):
        with pytest.raises(kind, match="too far behind") as caught:
            answer_of(status, problem, "3")
        assert caught.value.code == "LOG_BACKLOG"
        assert caught.value.retry_after_seconds == (3.0 if status in (429, 503) else None)
    for content in (b"", b"<html>", b"[]", b"\xff", b'{"detail":1}'):
        with pytest.raises(Unavailable, match="answered 502"):
            answer_of(502, content, "Wed, 21 Oct 2015 07:28:00 GMT")


def test_the_format_is_told_by_the_name_and_an_unknown_one_names_the_known() -> None:
    names = ["a.log", "a.ndjson", "a.jsonl.gz", "a.json.zst", "A.CSV", "a.tsv"]
    assert [format_of(Path(name)) for name in names] == ["combined", "ndjson", "ndjson", "json", "csv", "csv"]
    with pytest.raises(BadInput, match=r"combined\|ndjson\|json\|csv"):
        format_of(Path("a.txt"))
    with pytest.raises(BadInput, match="unknown format 'xml'; known: combined"):
        import_files([Path("a.log")], lambda body, headers: {}, format_name="xml")


def test_a_broken_or_foreign_state_is_no_state(tmp_path: Path, shelf: Any) -> None:
    path, states = lines_file(tmp_path, 5), tmp_path / "states"
    import_files([path], shelf.send, state_folder=states)
    (state,) = states.iterdir()
    assert state.stat().st_mode & 0o777 == 0o600
    for content in (b"", b"{", b"\xff", b'{"offset": -1}'):
        state.write_bytes(content)
        report = import_files([path], shelf.send, state_folder=states)
        assert (report.duplicate, report.files[0].resumed_at) == (5, 0)


IMPORTER = """
import json, os, sys
from pathlib import Path
from headwater.collect.importing.run import import_files
out = open(sys.argv[2], "ab")
def send(body, headers):
    events = json.loads(body)
    out.write(("".join(event["id"] + chr(10) for event in events)).encode())
    out.flush()
    return {"accepted": len(events), "duplicate": 0, "quarantined": 0}
report = import_files([Path(sys.argv[1])], send, state_folder=Path(sys.argv[3]))
print(report.files[0].resumed_at, report.lines, flush=True)
"""


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_after_kill_minus_nine_an_import_goes_on_near_where_it_was_and_sends_every_line(
    tmp_path: Path, suffix: str
) -> None:
    n = 60_000
    path = lines_file(tmp_path, n)
    if suffix:
        subprocess.run(["gzip", path], check=True)
        path = path.with_name(path.name + suffix)
    out, states = tmp_path / "out", tmp_path / "states"
    command = [sys.executable, "-c", IMPORTER, str(path), str(out), str(states)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while child.poll() is None and (not out.exists() or out.stat().st_size < 37 * n // 5):
        os.sched_yield()
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = out.stat().st_size // 37
    assert before < n
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    resumed_at, lines = map(int, done.stdout.split())
    ids = [line[:36] for line in out.read_text().splitlines()]
    assert len(set(ids)) >= n
    assert resumed_at > 0
    # The chunk that was sent and not yet remembered goes again.
    assert n - before <= lines <= n - before + 2 * CHUNK_EVENTS_MAX

import asyncio
import json
import logging
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from headwater.observe import journal
from headwater.observe.foreign import Bridge
from headwater.observe.journal import bind, bind_batch, bind_request, get_journal
from headwater.observe.lines import WAITING_CHARACTERS_MAX, WAITING_MAX, Lines

SECRET = "hw_sk_abcdefgh23456789abcdefgh234"


@pytest.fixture
def out(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "journal").open("w") as file:
        journal.configure("json", "info", file)
        yield file
        journal.configure("json", "warning")


def text_of(out: TextIO) -> str:
    assert journal.flush(10)
    return Path(out.name).read_text()


def lines_of(out: TextIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text_of(out).splitlines()]


def test_a_line_has_time_kind_level_event_and_facts(out: TextIO) -> None:
    get_journal("pipeline").info("load_committed", rows=5, project="shop")
    (line,) = lines_of(out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("at"))
    assert line == {"kind": "pipeline", "level": "info", "event": "load_committed", "rows": 5, "project": "shop"}


def test_levels_below_the_set_one_are_not_written(out: TextIO) -> None:
    say = get_journal("application")
    say.debug("a")
    say.info("b")
    say.warning("c")
    say.error("d")
    assert [(line["event"], line["level"]) for line in lines_of(out)] == [
        ("b", "info"),
        ("c", "warning"),
        ("d", "error"),
    ]


def test_no_fact_passes_for_the_head_of_a_line(out: TextIO) -> None:
    get_journal("audit").info("key_created", kind="in", level="none", at="never")
    (line,) = lines_of(out)
    assert (line["kind"], line["level"], line["event"]) == ("audit", "info", "key_created")
    assert (line["kind_"], line["level_"], line["at_"]) == ("in", "none", "never")


def test_request_and_batch_id_stand_in_every_line_of_their_task_and_its_threads(out: TextIO) -> None:
    say = get_journal("application")

    async def request(name: str) -> None:
        with bind_request(name), bind_batch(f"b{name}"):
            await asyncio.sleep(0)
            await asyncio.to_thread(say.info, "inside", n=name)

    async def both() -> None:
        await asyncio.gather(request("1"), request("2"))

    asyncio.run(both())
    say.info("outside")
    lines = lines_of(out)
    assert sorted((line["n"], line["request_id"], line["batch_id"]) for line in lines[:2]) == [
        ("1", "1", "b1"),
        ("2", "2", "b2"),
    ]
    assert "request_id" not in lines[2]


def test_an_exception_is_told_with_code_and_where_it_happened(out: TextIO) -> None:
    class Broken(Exception):
        code = "BROKEN"

    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise Broken(f"wrong key {SECRET}")

    try:
        deep(20)
    except Broken as error:
        get_journal("error").error("unexpected_error", exc_info=error)
        get_journal("error").error("unexpected_error", exc_info=True)
    for line in lines_of(out):
        assert line["error"] == "Broken: wrong key hw_sk_***"
        assert line["code"] == "BROKEN"
        assert line["traceback"].count("in deep") <= 8


@pytest.mark.parametrize("form", ["json", "console"])
def test_nothing_that_looks_like_a_secret_is_ever_printed(tmp_path: Path, form: Any) -> None:
    with (tmp_path / "journal").open("w") as file:
        journal.configure(form, "debug", file)
        say = get_journal("access")
        say.debug(f"event {SECRET}", url=f"/api/v1/events?key={SECRET}", headers={"Authorization": f"Bearer {SECRET}"})
        say.info("x", body=f"{SECRET}", data=SECRET.encode(), password=SECRET, nested=[{"a": f"?key={SECRET}"}])
        with bind(credential=SECRET, path=f"/x?key={SECRET}"):
            say.warning("y", **{SECRET: 1})
        logging.getLogger("uvicorn.error").warning("GET /x?key=%s Authorization: Bearer %s", SECRET, SECRET)
        try:
            raise ValueError(f"key={SECRET}") from KeyError(SECRET)
        except ValueError as error:
            say.error("z", exc_info=error)
        written = text_of(file)
        journal.configure("json", "warning")
    assert written.count("\n") >= 5
    assert SECRET[6:] not in written


def test_on_the_console_nothing_moves_the_cursor_or_begins_a_line(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as file:
        journal.configure("console", "info", file)
        get_journal("application").info(
            "a\nb\x1b[2J", text="c\r\nFAKE [error] line\x1b]0;x\x07", **{"na\nme": "\u2028"}
        )
        written = text_of(file)
        journal.configure("json", "warning")
    assert written.count("\n") == 1
    assert "\x1b" not in written and "\r" not in written and "\u2028" not in written


def test_what_libraries_say_comes_here_from_warning_on(out: TextIO) -> None:
    logging.getLogger("asyncio").info("quiet")
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").error("lost")
    said, lost = lines_of(out)
    assert (said["event"], said["level"], said["logger"]) == ("library_said", "warning", "asyncio")
    assert said["text"] == "slow callback"
    assert lost["level"] == "error"


def test_warnings_come_here_too() -> None:
    script = (
        "import warnings\nfrom headwater.observe import journal\njournal.configure('json')\nwarnings.warn('old thing')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["logger"] == "py.warnings" and "old thing" in line["text"]


def test_a_terminal_gets_the_console_form_and_a_pipe_gets_json() -> None:
    script = (
        "from headwater.observe import journal\njournal.configure()\n"
        "journal.get_journal('application').info('started', port=1)"
    )
    piped = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(piped.stderr)["event"] == "started"
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", script], stderr=theirs, timeout=60, check=True)
    os.close(theirs)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert "started" in shown and "{" not in shown


def test_before_configure_only_warnings_and_errors_are_written() -> None:
    script = (
        "from headwater.observe.journal import get_journal\nsay = get_journal('application')\n"
        "say.info('quiet')\nsay.warning('heard')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "heard" in done.stderr and "quiet" not in done.stderr


def test_lines_written_just_before_the_end_are_not_lost() -> None:
    script = (
        "from headwater.observe import journal\njournal.configure('json')\n"
        "for n in range(500): journal.get_journal('application').info('n', n=n)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert [json.loads(line)["n"] for line in done.stderr.splitlines()] == list(range(500))


def test_importing_it_does_not_import_structlog() -> None:
    script = "import sys, headwater.observe.journal; print('structlog' in sys.modules, 'logging' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_librarys_broken_format_string_is_told_and_stops_nobody(out: TextIO) -> None:
    record = logging.LogRecord("lib", logging.ERROR, "x.py", 1, "bad format %d", ("x",), None)
    Bridge(get_journal("application")).emit(record)
    (line,) = lines_of(out)
    assert line["text"].startswith("'bad format %d' (")


def filled_pipe() -> tuple[int, TextIO]:
    """A pipe whose reader does not read, filled to the brim."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, b"x" * 65536):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    return reader, os.fdopen(writer, "w")


def test_a_stuck_reader_blocks_nobody_and_what_was_dropped_is_counted_and_said() -> None:
    reader, stuck = filled_pipe()
    lines = Lines(stuck)
    slowest = 0.0
    for n in range(WAITING_MAX + 20_000):
        started = time.perf_counter()
        lines.put(f"line {n}\n")
        slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 0.5
    assert lines.dropped > 0
    assert lines.flush(0.05) is False
    dropped = lines.dropped
    received = bytearray()

    def read() -> None:
        while part := os.read(reader, 65536):
            received.extend(part)

    thread = threading.Thread(target=read)
    thread.start()
    assert lines.flush(30)
    lines.close()
    stuck.close()
    thread.join(10)
    os.close(reader)
    text = received.decode().lstrip("x")
    said = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert [line["event"] for line in said] == ["journal_lines_dropped"]
    assert said[0]["lines"] == dropped
    numbers = [int(line.split()[1]) for line in text.splitlines() if line.startswith("line")]
    assert len(numbers) == WAITING_MAX + 20_000 - dropped
    assert numbers == sorted(numbers)


def test_few_long_lines_are_bounded_too() -> None:
    reader, stuck = filled_pipe()
    lines = Lines(stuck)
    for _ in range(20):
        lines.put("x" * 1_000_000)
    assert lines.dropped >= 20 - 1 - WAITING_CHARACTERS_MAX // 1_000_000
    os.close(reader)
    assert lines.flush(10)
    lines.close()
    stuck.close()


def test_a_closed_stderr_is_counted_and_stops_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        lines = Lines(broken)
        lines.put("a\n")
        assert lines.flush(10)
        assert lines.dropped == 1
        lines.close()
        lines.put("b\n")
    assert lines.dropped == 2


def test_a_stderr_that_others_made_non_blocking_loses_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received = bytearray()

    def read() -> None:
        while part := os.read(reader, 4096):
            received.extend(part)

    thread = threading.Thread(target=read)
    with os.fdopen(writer, "w") as target:
        lines = Lines(target)
        for n in range(5000):
            lines.put(f"{n:0100d}\n")
        thread.start()
        assert lines.flush(30)
        lines.close()
    thread.join(10)
    os.close(reader)
    assert [int(line) for line in received.decode().split()] == list(range(5000))

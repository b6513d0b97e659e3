"""Tables on a terminal and elsewhere, and what becomes of a command whose reader goes away."""

import io
import os
import re
import subprocess
import sys

import pytest

from headwater.cli import show

ROW = ("01a20e59-c681-73ce-973f-61b68b6bc943", "2026-11-24T16:17:25.967765Z", 979243)
DETAIL = "$[310].id: expected a UUID such as 0192f7a0-4d5e-7abc-8def-0123456789ab, got '42'"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(monkeypatch, columns, rows, *, width):
    """What a terminal of that width is given."""
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    show.show_table(columns, rows, empty="")
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_ids_times_and_numbers_are_whole_at_any_width(monkeypatch, width):
    text = printed(monkeypatch, ("id", "created", "number", "detail"), [(*ROW, DETAIL)], width=width)
    for whole in (ROW[0], ROW[1], "979,243"):
        assert whole in text


def test_a_long_text_is_folded_where_there_is_room(monkeypatch):
    roomy = printed(monkeypatch, ("id", "detail"), [(ROW[0], DETAIL)], width=100)
    assert len(roomy.splitlines()) > 2 and max(map(len, roomy.splitlines())) <= 100
    narrow = printed(monkeypatch, ("id", "detail"), [(ROW[0], DETAIL)], width=60)
    assert len(narrow.splitlines()) == 2 and DETAIL in narrow


def run(*arguments):
    command = [sys.executable, "-m", "headwater", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_a_reader_that_goes_away_is_no_failure_and_nothing_is_complained_of():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "headwater", "config"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=30)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_end_without_a_start_is_told(tmp_path):
    done = run("query", "events", "--end", "2026-01-01T00:00:00Z", "--data", str(tmp_path))
    assert done.returncode == 2 and "--end needs --start" in done.stderr


def test_a_start_alone_reaches_to_now_and_the_default_range_is_said(served):
    served.send([{"name": "a"}])
    served.settled()
    done = served.run_cli("query", "events", "--start", "2026-01-01T00:00:00Z")
    assert done.returncode == 0 and done.stdout.split()[-1] == "1", done.stderr
    assert "the last 24h" not in done.stderr
    assert "the last 24h, as of" in served.run_cli("query", "events").stderr


def test_choosing_a_source_of_the_ledger_shows_its_rows(served):
    served.send([{"name": "a", "source": "shop"}, {"name": "a", "source": "app"}])
    served.settled()
    said = served.run_cli("ledger", "--source", "shop").stdout
    assert "shop" in said and "app" not in said
    assert "shop" not in served.run_cli("ledger", "--source", "shop", "--totals").stdout

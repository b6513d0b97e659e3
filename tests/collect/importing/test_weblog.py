"""The real log: the numbers equal those of a count that shares nothing with the parser."""

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import zstandard

from headwater.collect.importing.run import import_files


def counted_by_columns(log: Path) -> tuple[Counter[str], Counter[int]]:
    """Requests by day and by status, by position alone: the day after `[`, the status after the second `"`."""
    days: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    for line in log.read_text().splitlines():
        days[line.split("[", 1)[1][:11]] += 1
        statuses[int(line.split('" ', 1)[1].split(" ", 1)[0])] += 1
    return days, statuses


def test_every_line_is_an_event_with_the_day_and_status_of_an_independent_count(weblog: Path, shelf: Any) -> None:
    report = import_files([weblog], shelf.send, format_name="combined")
    assert (report.lines, report.accepted, report.quarantined, report.exit_code) == (10_000, 10_000, 0, 0)
    events = shelf.stored.values()
    days, statuses = counted_by_columns(weblog)
    assert Counter(event["timestamp"][8:10] + "/May/2015" for event in events) == days
    assert Counter(event["data"]["attributes"]["status"] for event in events) == statuses
    assert sum(days.values()) == 10_000


def test_the_log_again_and_compressed_stores_nothing_twice(weblog: Path, shelf: Any, tmp_path: Path) -> None:
    packed = tmp_path / "apache.log.gz"
    packed.write_bytes(gzip.compress(weblog.read_bytes()))
    frames = tmp_path / "apache.log.zst"
    content = weblog.read_bytes()
    frames.write_bytes(zstandard.compress(content[:1_000_000]) + zstandard.compress(content[1_000_000:]))
    report = import_files([weblog, weblog, packed, frames], shelf.send, format_name="combined")
    assert [(file.accepted, file.duplicate) for file in report.files] == [(10_000, 0)] + 3 * [(0, 10_000)]
    assert len(shelf.stored) == 10_000

"""The log of a project: opened, made where it may be, and held against what warehouse and lake have of it."""

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from headwater.boot.collector import Collector
from headwater.domain.errors import Damaged, Unavailable
from headwater.observe.journal import get_journal
from headwater.process.positions import Held, check, first_of_new_log
from headwater.process.rebuild import fill
from headwater.storage.log import open_log_reader, open_log_writer, set_log_aside
from headwater.storage.log.base import LogReader, LogWriter, Position

if TYPE_CHECKING:
    from headwater.boot.project import OpenProject

CONSUMERS = ("process", "lake")
LOG_HELD_SECONDS = 0.5

journal = get_journal("pipeline")


def open_writer(project: "OpenProject", collector: Collector) -> LogWriter:
    room = project.settings.log
    opening = partial(
        open_log_writer,
        project.places.log,
        collector.acks.on_durable,
        **new_log(project),
        consumers=CONSUMERS,
        segment_bytes=room.segment_bytes,
        bytes_max=room.bytes_max,
        age_hours_max=room.age_hours_max,
        queue_bytes_max=room.queue_bytes_max,
    )
    try:
        return opening()
    except Unavailable as error:
        if error.code != "LOG_HELD":
            raise
    time.sleep(LOG_HELD_SECONDS)  # the core is just making it
    return opening()


def new_log(project: "OpenProject") -> dict[str, Any]:
    """May a log be made here, and what is its first number?"""
    held = positions(project)
    never = project.logbook.known() is None and not any(held)
    # Where a new one goes on is known by the stores alone: a collector on its own makes none.
    wanted = project.settings.server.new_log and hasattr(project, "warehouse")
    return {"make": never or wanted, "first_seq_min": first_of_new_log(*held)}


def positions(project: "OpenProject") -> tuple[Position | None, Position | None]:
    """Of warehouse and lake, where this process has them."""
    if not hasattr(project, "warehouse"):
        return None, None
    return project.warehouse.position(), project.lake.position()


def give_up_log(project: "OpenProject") -> None:
    """On a person's word, a log that does not belong to the stores makes room for a new one."""
    if not project.settings.server.new_log:
        return
    try:
        writer = open_log_writer(project.places.log, lambda outcomes: None, consumers=CONSUMERS, make=False)
    except Damaged as error:
        if error.code == "LOG_MIXED":
            journal.warning("log_set_aside", project=project.name, folder=set_log_aside(project.places.log))
        elif error.code != "LOG_MISSING":
            raise
        return
    reader = writer.reader()
    held = Held(reader.log_id, reader.first_seq(), reader.durable_seq())
    reader.close()
    writer.close()
    try:
        check(held, *positions(project))
    except Damaged as error:
        if error.code in ("OTHER_LOG", "AHEAD_OF_LOG"):
            aside = set_log_aside(project.places.log)
            journal.warning("log_set_aside", project=project.name, folder=aside, reason=error.detail)


def keep_received(project: "OpenProject") -> None:
    """The ledger goes on over a change of logs, and where a person has given up a part of one."""
    if project.settings.server.new_log or project.logbook.known() != project.reader.log_id:
        events = project.logbook.keep_received(project.warehouse, project.reader)
        if events:
            journal.warning("received_counts_restored", project=project.name, events=events)


def open_reader(project: "OpenProject") -> LogReader:
    if project.writer is not None:
        return project.writer.reader()
    try:
        return open_log_reader(project.places.log)
    except Unavailable as error:
        if error.code != "NO_LOG":
            raise
    make_log(project)
    return open_log_reader(project.places.log)


def make_log(project: "OpenProject") -> None:
    """The core may start before the collector: the log is made by whoever comes first."""
    try:
        open_log_writer(project.places.log, lambda outcomes: None, **new_log(project), consumers=CONSUMERS).close()
    except Unavailable as error:
        if error.code != "LOG_HELD":
            raise


def check_positions(project: "OpenProject") -> None:
    """Raises Damaged, naming the cure, where log, lake and warehouse do not belong together."""
    held = Held(project.reader.log_id, project.reader.first_seq(), project.reader.durable_seq())
    server = project.settings.server
    start = check(held, *positions(project), new_log=server.new_log, lake_gap=server.lake_gap)
    given_up = max(start.missing_in_warehouse, start.missing_in_lake)
    if given_up:
        journal.error("events_given_up", project=project.name, events=given_up, reason="--new-log or --lake-gap")
    if start.fill:
        journal.warning("warehouse_filled_from_lake", project=project.name)
        fill(project.lake, project.open_reader, project.warehouse)
    keep_received(project)
    if start.missing_in_warehouse:
        lost = project.logbook.count_lost(project.warehouse, project.reader)
        journal.error("events_lost", project=project.name, events=lost, reason="--new-log")

"""What /metrics shows of this process: plain counters of the rooms, read when somebody looks."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Protocol

from headwater.collect.counts import SECONDS, Counts
from headwater.observe.gauges import counter, histogram, reading
from headwater.process.gauges import COMMIT_SECONDS

REQUESTS = counter("headwater_http_requests_total", "Requests to the routes.", ("method", "route", "status"))
REQUEST_SECONDS = histogram("headwater_http_request_seconds", "Time of a request to the routes.", ("route",))

Numbers = Mapping[tuple[str, ...], float]


class Watched(Protocol):
    """An open project, as far as gauges look at it."""

    name: str
    memory_bytes: int

    def pipeline(self) -> Mapping[str, Any]: ...
    def store_facts(self) -> Mapping[str, Any]: ...
    def lake_facts(self) -> Mapping[str, int]: ...
    def commit_buckets(self) -> Sequence[int]: ...


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    REQUESTS.of(method, route, str(status)).add()
    REQUEST_SECONDS.of(route).observe(seconds)


def register_collect(counts: Counts) -> None:
    reading(
        "headwater_collect_requests_total",
        "Requests to POST /api/v1/events, by status.",
        lambda: {(str(status),): n for status, n in counts.requests.items()},
        ("status",),
    )
    reading(
        "headwater_collect_refused_requests_total",
        "Requests of which nothing was stored, by code.",
        lambda: {(code,): n for code, n in counts.refused.items()},
        ("code",),
    )
    reading("headwater_collect_accepted_events_total", "Events accepted.", lambda: counts.accepted)
    reading(
        "headwater_collect_quarantined_events_total",
        "Events quarantined by the collector, by code.",
        lambda: {(code,): n for code, n in counts.quarantined.items()},
        ("code",),
    )
    reading("headwater_collect_suppressed_events_total", "Events beyond a quarantine quota.", lambda: counts.suppressed)
    reading("headwater_collect_body_bytes_total", "Bytes of bodies as they came.", lambda: counts.body_bytes)
    reading(
        "headwater_collect_request_seconds_total",
        "Time spent in requests to POST /api/v1/events.",
        lambda: counts.seconds_sum,
    )
    uppers = [*map(str, SECONDS), "+Inf"]
    reading(
        "headwater_collect_requests_within_seconds_total",
        "Requests to POST /api/v1/events answered within so many seconds.",
        lambda: {(upper,): n for upper, n in zip(uppers, accumulate(counts.seconds), strict=True)},
        ("le",),
    )


def register_projects(projects: Mapping[str, Watched], unbalanced: Callable[[], Mapping[str, int]]) -> None:
    def each(value: Callable[[Mapping[str, Any]], float]) -> Callable[[], Numbers]:
        return lambda: {(name,): value(project.pipeline()) for name, project in list(projects.items())}

    def parts(key: str) -> Callable[[], Numbers]:
        return lambda: {
            (name, part): float(value)
            for name, project in list(projects.items())
            for part, value in project.pipeline().get(key, {}).items()
        }

    reading(
        "headwater_log_lag_events",
        "Events in the log and not in the warehouse.",
        each(lambda p: p.get("lag", 0)),
        ("project",),
    )
    reading(
        "headwater_lake_lag_events",
        "Events in the log and not in the lake.",
        each(lambda p: p.get("lakeLag", 0)),
        ("project",),
    )
    reading(
        "headwater_log_durable_seq",
        "Last durable number of the log.",
        each(lambda p: p.get("durableSeq", 0)),
        ("project",),
    )
    reading("headwater_process_loads_runs_total", "Load transactions.", each(lambda p: p.get("loads", 0)), ("project",))
    reading(
        "headwater_process_retries_runs_total", "Loads tried again.", each(lambda p: p.get("retries", 0)), ("project",)
    )
    reading(
        "headwater_process_outcome_events_total",
        "Events by what became of them.",
        parts("outcomes"),
        ("project", "outcome"),
    )
    reading(
        "headwater_process_step_seconds_total", "Time by step of the pipeline.", parts("seconds"), ("project", "step")
    )
    reading(
        "headwater_process_rejects_events_total",
        "Events that a step refused, by step and code.",
        lambda: {
            (name, reject["step"], reject["code"]): reject["count"]
            for name, project in list(projects.items())
            for reject in project.pipeline().get("rejects", ())
        },
        ("project", "step", "code"),
    )
    uppers = [*map(str, COMMIT_SECONDS), "+Inf"]
    reading(
        "headwater_process_commits_within_seconds_total",
        "Commits of the warehouse done within so many seconds.",
        lambda: {
            (name, upper): n
            for name, project in list(projects.items())
            for upper, n in zip(uppers, accumulate(project.commit_buckets()), strict=True)
        },
        ("project", "le"),
    )
    for fact, unit, help_text in (
        ("rows_hot", "warehouse_hot_rows", "Rows not sealed yet."),
        ("rows_sealed", "warehouse_sealed_rows", "Rows sealed in time order."),
        ("quarantined", "warehouse_quarantined_rows", "Rows in quarantine."),
        ("bytes", "warehouse_file_bytes", "Size of the warehouse."),
        ("wal_bytes", "warehouse_wal_bytes", "Size of its write-ahead log."),
    ):
        reading(
            f"headwater_{unit}",
            help_text,
            partial(_facts, projects, fact),
            ("project",),
        )
    for fact, name, help_text in (
        ("files", "lake_files", "Files of the lake."),
        ("small_files", "lake_small_files", "Of these, what compaction would merge now."),
        ("rows", "lake_rows", "Rows of the lake."),
        ("bytes", "lake_bytes", "Size of the lake's present version."),
        ("version", "lake_version_info", "Number of the lake's present version."),
    ):
        reading(f"headwater_{name}", help_text, partial(_lake_facts, projects, fact), ("project",))
    reading(
        "headwater_lake_compacted_at_seconds",
        "Last merge of small files by this process; 0 = none yet.",
        lambda: {
            (name,): project.lake_facts().get("compacted_us", 0) / 1e6 for name, project in list(projects.items())
        },
        ("project",),
    )
    reading(
        "headwater_warehouse_memory_bytes",
        "Memory that the warehouse may take: its share of warehouse.memory_bytes_max.",
        lambda: {(name,): project.memory_bytes for name, project in list(projects.items())},
        ("project",),
    )
    reading(
        "headwater_ledger_balanced_info",
        "1 while received = stored + duplicate + quarantined + suppressed + removed + lost + in flight, else 0.",
        lambda: {(name,): float(not events) for name, events in unbalanced().items()},
        ("project",),
    )
    reading(
        "headwater_ledger_unbalanced_events",
        "Events received and not accounted for; below 0: accounted for and not received.",
        lambda: {(name,): events for name, events in unbalanced().items()},
        ("project",),
    )


def _lake_facts(projects: Mapping[str, Watched], fact: str) -> Numbers:
    return {(name,): float(project.lake_facts().get(fact, 0)) for name, project in list(projects.items())}


def _facts(projects: Mapping[str, Watched], fact: str) -> Numbers:
    return {(name,): float(project.store_facts().get(fact, 0)) for name, project in list(projects.items())}

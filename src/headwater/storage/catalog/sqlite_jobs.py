"""The embedded catalog's jobs: SQL over the connections of `sqlite.py`.

SQLite's clock is the host's. It tells people when things happened, and when retries and schedules are due; whether a
lease holds never depends on it.
"""

# ruff: noqa: S608 - statements are put together of constants of this file; values are always bound

import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from sqlite3 import Connection
from typing import Any, Protocol

import msgspec

from headwater.domain.batches import new_uuid7
from headwater.domain.errors import Conflict, NotFound, Overloaded, TooLarge
from headwater.domain.values import shown
from headwater.storage.catalog.jobs import (
    Count,
    JobError,
    JobRow,
    Lease,
    Outcome,
    Progress,
    Pulse,
    State,
    Verdict,
)

DOCUMENT_BYTES_MAX = 65_536
"""Of arguments, checkpoint and result, each."""
FORGOTTEN_PER_CALL_MAX = 1000
TAKE_OVER_WAIT_SECONDS = 0.2
DELAY_SECONDS_MAX = 3600
"""A due time further ahead than any delay could be was written before the clock was set back: it counts as due."""

NOW = "cast((julianday('now') - 2440587.5) * 86400e6 as integer)"
_DUE = f"(due_us <= {NOW} or due_us > {NOW} + {DELAY_SECONDS_MAX * 1_000_000})"
_COLUMNS = (
    "n, id, project, kind, lane, state, dedup_key, args, args_crc, checkpoint, checkpoint_crc, progress, result, "
    "error, attempt, beat, worker, failures, attempts_max, cancel_asked, created_us, due_us, started_us, finished_us"
)
_OURS = "where id = ? and attempt = ? and state = 'running'"
_CLAIM = (
    "set state = 'running', attempt = attempt + 1, beat = beat + 1, worker = ?, moved = 0, "
    f"started_us = coalesce(started_us, {NOW})"
)

Read = Callable[..., Sequence[Any]]


class Write(Protocol):
    def __call__(
        self, *names: str, checkpoint: bool = True, busy_seconds_max: float | None = None
    ) -> AbstractContextManager[Connection]: ...


class SqliteJobs:
    """The contract is `jobs.Jobs`. `decoded` checks a document's checksum and raises Damaged."""

    def __init__(self, read: Read, write: Write, decoded: Callable[[str, int, str], Any]) -> None:
        self._read = read
        self._write = write
        self._decoded = decoded

    def now_us(self) -> int:
        ((now,),) = self._read(f"select {NOW}")
        return int(now)

    def enqueue(
        self,
        project: str,
        kind: str,
        lane: str,
        args: Mapping[str, Any],
        *,
        attempts_max: int,
        queued_max: int,
        dedup_key: str | None = None,
    ) -> tuple[JobRow, bool]:
        text = json_of(f"arguments of {kind}", args)
        with self._write(project, kind, lane, dedup_key or "", checkpoint=False) as con:
            row = unfinished(con, project, kind, dedup_key)
            if row is not None:
                return self.row(row), False
            (waiting,) = con.execute(
                "select count(*) from jobs where project = ? and state = 'queued'", (project,)
            ).fetchone()
            if waiting >= queued_max:
                raise Overloaded(
                    f"{waiting} jobs of project {shown(project)} are waiting, the limit is {queued_max}",
                    code="TOO_MANY_JOBS",
                    limit=queued_max,
                    hint="wait until some are done, or cancel some: headwater jobs",
                    retry_after_seconds=60,
                )
            row = insert(con, project, kind, lane, text, attempts_max, dedup_key)
        return self.row(row), True

    def waiting(self, kinds: Sequence[str]) -> Sequence[str]:
        rows = self._read(
            "select distinct kind from jobs where state = 'queued' and kind in (select value from json_each(?)) "
            f"and {_DUE}",
            _text(kinds),
        )
        return [kind for (kind,) in rows]

    def claim(self, kinds: Sequence[str], worker: str) -> JobRow | None:
        with self._write(checkpoint=False) as con:
            row = con.execute(
                f"update jobs {_CLAIM} where n = (select min(n) from jobs where state = 'queued' and kind in "
                f"(select value from json_each(?)) and {_DUE}) returning {_COLUMNS}",
                (worker, _text(kinds)),
            ).fetchone()
        return None if row is None else self.row(row)

    def leases(self, kinds: Sequence[str]) -> Sequence[Lease]:
        rows = self._read(
            "select kind, id, attempt, beat from jobs where state = 'running' "
            "and kind in (select value from json_each(?))",
            _text(kinds),
        )
        return [Lease(*row) for row in rows]

    def take_over(self, lease: Lease, worker: str) -> JobRow | None:
        ours = (lease.id, lease.attempt, lease.beat)
        with self._write(checkpoint=False, busy_seconds_max=TAKE_OVER_WAIT_SECONDS) as con:
            found = con.execute(
                f"select cancel_asked, failures + 1 - moved, attempts_max from jobs {_OURS} and beat = ?", ours
            ).fetchone()
            if found is None:
                return None
            cancel_asked, failures, attempts_max = found
            if cancel_asked:
                _end(con, "cancelled", *ours[:2])
            elif failures >= attempts_max:
                died = JobError("JOB_WORKER_DIED", f"{failures} workers died at it before anything new was saved")
                _end(con, "failed", *ours[:2], error=_text(died))
            else:
                con.execute(f"update jobs {_CLAIM}, failures = ? {_OURS}", (worker, failures, *ours[:2]))
            row = con.execute(f"select {_COLUMNS} from jobs where id = ?", (lease.id,)).fetchone()
        return self.row(row)

    def renew(self, pulses: Sequence[Pulse]) -> Sequence[Verdict]:
        with self._write(checkpoint=False) as con:
            return [
                _verdict(
                    con.execute(
                        f"update jobs set beat = beat + 1, progress = ? {_OURS} returning cancel_asked",
                        (_text(pulse.progress), pulse.id, pulse.attempt),
                    ).fetchone()
                )
                for pulse in pulses
            ]

    def save(self, pulse: Pulse, checkpoint: Mapping[str, Any]) -> Verdict:
        text = json_of(f"checkpoint of job {pulse.id}", checkpoint)
        crc = zlib.crc32(text.encode())
        with self._write(checkpoint=False) as con:
            return _verdict(
                con.execute(
                    "update jobs set moved = max(moved, checkpoint is not ?), checkpoint = ?, checkpoint_crc = ?, "
                    f"beat = beat + 1, progress = ? {_OURS} returning cancel_asked",
                    (text, text, crc, _text(pulse.progress), pulse.id, pulse.attempt),
                ).fetchone()
            )

    def finish(
        self,
        job_id: str,
        attempt: int,
        outcome: Outcome,
        progress: Progress,
        *,
        result: Mapping[str, Any] | None = None,
        error: JobError | None = None,
    ) -> bool:
        text = None if result is None else json_of(f"result of job {job_id}", result)
        with self._write(checkpoint=False) as con:
            return _end(
                con,
                outcome,
                job_id,
                attempt,
                progress=_text(progress),
                result=text,
                error=None if error is None else _text(error),
            )

    def retry(self, job_id: str, attempt: int, error: JobError, delay_seconds: float) -> JobRow | None:
        delay_us = int(min(delay_seconds, DELAY_SECONDS_MAX) * 1_000_000)
        with self._write(checkpoint=False) as con:
            found = con.execute(
                f"update jobs set failures = failures + 1, error = ? {_OURS} "
                "returning cancel_asked, failures, attempts_max",
                (_text(error), job_id, attempt),
            ).fetchone()
            if found is None:
                return None
            cancel_asked, failures, attempts_max = found
            if cancel_asked:
                _end(con, "cancelled", job_id, attempt)
            elif failures >= attempts_max:
                _end(con, "failed", job_id, attempt)
            else:
                con.execute(
                    f"update jobs set state = 'queued', worker = null, due_us = {NOW} + ? {_OURS}",
                    (delay_us, job_id, attempt),
                )
            row = con.execute(f"select {_COLUMNS} from jobs where id = ?", (job_id,)).fetchone()
        return self.row(row)

    def release(self, job_id: str, attempt: int) -> bool:
        with self._write(checkpoint=False) as con:
            return bool(
                con.execute(
                    f"update jobs set state = 'queued', worker = null, due_us = {NOW} {_OURS}", (job_id, attempt)
                ).rowcount
            )

    def cancel(self, project: str, job_id: str) -> JobRow:
        with self._write(project, checkpoint=False) as con:
            found = con.execute("select state from jobs where project = ? and id = ?", (project, job_id)).fetchone()
            if found is None:
                raise _missing(project, job_id)
            (state,) = found
            if state == "queued":
                con.execute(
                    f"update jobs set state = 'cancelled', cancel_asked = 1, finished_us = {NOW} where id = ?",
                    (job_id,),
                )
            elif state == "running":
                con.execute("update jobs set cancel_asked = 1 where id = ?", (job_id,))
            else:
                raise Conflict(
                    f"job {job_id} has {state} already; there is nothing left to cancel"
                    if state != "cancelled"
                    else f"job {job_id} is cancelled already",
                    code="JOB_FINISHED",
                    value=state,
                )
            row = con.execute(f"select {_COLUMNS} from jobs where id = ?", (job_id,)).fetchone()
        return self.row(row)

    def get(self, project: str, job_id: str) -> JobRow:
        rows = self._read(f"select {_COLUMNS} from jobs where project = ? and id = ?", project, job_id)
        if not rows:
            raise _missing(project, job_id)
        return self.row(rows[0])

    def list(
        self,
        project: str,
        *,
        state: State | None = None,
        kind: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> Sequence[JobRow]:
        wanted = {"project = ?": project, "state = ?": state, "kind = ?": kind, "n < ?": before}
        conditions = {sql: value for sql, value in wanted.items() if value is not None}
        rows = self._read(
            f"select {_COLUMNS} from jobs where {' and '.join(conditions)} order by n desc limit ?",
            *conditions.values(),
            limit,
        )
        return [self.row(row) for row in rows]

    def counts(self) -> Sequence[Count]:
        rows = self._read(
            f"select kind, lane, state, count(*), max(0, {NOW} - min(due_us)) / 1e6 from jobs "
            "group by kind, lane, state"
        )
        return [Count(*row) for row in rows]

    def failed_since(self, seconds: float) -> tuple[int, JobRow | None]:
        rows = self._read(
            f"select {_COLUMNS} from jobs where state = 'failed' and finished_us > {NOW} - ? order by finished_us desc",
            int(seconds * 1_000_000),
        )
        return len(rows), self.row(rows[0]) if rows else None

    def forget(self, age_seconds_max: float, kept_max: int) -> int:
        with self._write(checkpoint=False) as con:
            return con.execute(
                "delete from jobs where n in (select n from (select n, finished_us, row_number() over "
                "(partition by project order by finished_us desc) as place from jobs where finished_us is not null) "
                f"where place > ? or finished_us < {NOW} - ? limit ?)",
                (kept_max, int(age_seconds_max * 1_000_000), FORGOTTEN_PER_CALL_MAX),
            ).rowcount

    def row(self, row: Sequence[Any]) -> JobRow:
        n, job_id, project, kind, lane, state, dedup_key, args, args_crc, checkpoint, checkpoint_crc, *rest = row
        progress, result, error, attempt, beat, worker, failures, attempts_max, cancel_asked, *times = rest
        saved = None
        if checkpoint is not None:
            saved = self._decoded(checkpoint, checkpoint_crc, f"checkpoint of job {job_id}")
        return JobRow(
            *(n, job_id, project, kind, lane, state, dedup_key),
            args=self._decoded(args, args_crc, f"arguments of job {job_id}"),
            checkpoint=saved,
            progress=msgspec.json.decode(progress, type=Progress),
            result=None if result is None else msgspec.json.decode(result),
            error=None if error is None else msgspec.json.decode(error, type=JobError),
            attempt=attempt,
            beat=beat,
            worker=worker,
            failures=failures,
            attempts_max=attempts_max,
            cancel_asked=bool(cancel_asked),
            created_us=times[0],
            due_us=times[1],
            started_us=times[2],
            finished_us=times[3],
        )


def unfinished(con: Connection, project: str, kind: str, dedup_key: str | None) -> Any:
    return con.execute(
        f"select {_COLUMNS} from jobs where project = ? and kind = ? and dedup_key = ? "
        "and state in ('queued', 'running')",
        (project, kind, dedup_key),
    ).fetchone()


def insert(
    con: Connection, project: str, kind: str, lane: str, args: str, attempts_max: int, dedup_key: str | None
) -> Any:
    job_id = str(new_uuid7())
    values = (job_id, project, kind, lane, dedup_key, args, zlib.crc32(args.encode()), _text(Progress()), attempts_max)
    return con.execute(
        "insert into jobs (id, project, kind, lane, state, dedup_key, args, args_crc, progress, attempt, beat, moved, "
        "failures, attempts_max, cancel_asked, created_us, due_us) "
        f"values (?, ?, ?, ?, 'queued', ?, ?, ?, ?, 0, 0, 0, 0, ?, 0, {NOW}, {NOW}) returning {_COLUMNS}",
        values,
    ).fetchone()


def _end(
    con: Connection,
    outcome: Outcome,
    job_id: str,
    attempt: int,
    *,
    progress: str | None = None,
    result: str | None = None,
    error: str | None = None,
) -> bool:
    """What is None stays as it is, but a job that succeeded has no error, whatever its earlier attempts met."""
    return bool(
        con.execute(
            "update jobs set state = ?1, progress = coalesce(?2, progress), result = ?3, "
            "error = case when ?1 = 'succeeded' then null else coalesce(?4, error) end, "
            f"beat = beat + 1, finished_us = {NOW} where id = ?5 and attempt = ?6 and state = 'running'",
            (outcome, progress, result, error, job_id, attempt),
        ).rowcount
    )


def _verdict(found: Any) -> Verdict:
    if found is None:
        return "lost"
    return "cancel" if found[0] else "held"


def _missing(project: str, job_id: str) -> NotFound:
    return NotFound(
        f"no job {shown(job_id)} in project {shown(project)}; finished ones are kept for a while only",
        code="JOB_NOT_FOUND",
        value=job_id,
    )


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def json_of(what: str, document: Mapping[str, Any]) -> str:
    text = _text(dict(document))
    if len(text) > DOCUMENT_BYTES_MAX:
        raise TooLarge(
            f"{what}: {len(text)} bytes, at most {DOCUMENT_BYTES_MAX} are kept",
            code="OBJECT_TOO_LARGE",
            value=len(text),
            limit=DOCUMENT_BYTES_MAX,
        )
    return text

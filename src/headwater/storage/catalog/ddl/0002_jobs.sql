-- Work to be done once: queued → running → succeeded, failed or cancelled. `attempt` rises each time that a worker takes
-- it (the fencing token), `beat` with each heartbeat: a lease has run out when watchers see it stand still.
create table jobs (
    n integer primary key autoincrement,
    id text not null unique,
    project text not null,
    kind text not null,
    lane text not null,
    state text not null check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    dedup_key text,
    args text not null,
    args_crc integer not null,
    checkpoint text,
    checkpoint_crc integer,
    progress text not null,
    result text,
    error text,
    attempt integer not null,
    beat integer not null,
    worker text,
    -- 1 once this attempt has saved something new: a worker that dies after that is no sign of a bad job.
    moved integer not null,
    failures integer not null,
    attempts_max integer not null,
    cancel_asked integer not null,
    created_us integer not null,
    due_us integer not null,
    started_us integer,
    finished_us integer
);
create unique index jobs_once on jobs (project, kind, dedup_key)
    where dedup_key is not null and state in ('queued', 'running');
create index jobs_queued on jobs (kind, n) where state = 'queued';
create index jobs_running on jobs (kind) where state = 'running';
create index jobs_by_project on jobs (project, n);
create index jobs_done on jobs (project, finished_us) where finished_us is not null;

create table schedules (
    project text not null,
    name text not null,
    kind text not null,
    lane text not null,
    args text not null,
    attempts_max integer not null,
    cron text not null,
    time_zone text not null,
    next_us integer not null,
    primary key (project, name)
) without rowid;
create index schedules_by_time on schedules (next_us);

-- Every TIMESTAMP is naive UTC: fetching TIMESTAMPTZ needs pytz. No keys, no indexes: an index made appends 1.5 times
-- and the file twice as dear. Rows are added and deleted, never updated: an update beside any older snapshot makes
-- checkpoints fail.

-- Rows as they are loaded, attributes as text. A seal moves them on to `events`, except those whose attributes have
-- shapes too rare to be columns: they stay.
create table hot (
    seq bigint not null,
    id uuid not null,
    has_id boolean not null,
    source varchar not null,
    source_label varchar,  -- the ledger's word for the source; null = the source itself
    type varchar not null,
    name varchar not null,
    version varchar not null,
    actor varchar,
    session_id varchar,
    created_at timestamp,
    occurred_at timestamp not null,
    clamped boolean not null,
    received_at timestamp not null,
    source_ip varchar,
    user_agent varchar,
    client_batch_id varchar,
    replays_seq bigint,
    attributes json not null
);

-- Sealed rows, in order of occurred_at within a seal. There are no partitions: each row group of 122,880 rows knows its
-- smallest and greatest times, so a question about a day reads the groups of that day alone.
create table events (
    seq bigint not null,
    id uuid not null,
    has_id boolean not null,
    source varchar not null,
    source_label varchar,
    type varchar not null,
    name varchar not null,
    version varchar not null,
    actor varchar,
    session_id varchar,
    created_at timestamp,
    occurred_at timestamp not null,
    clamped boolean not null,
    received_at timestamp not null,
    source_ip varchar,
    user_agent varchar,
    client_batch_id varchar,
    replays_seq bigint,
    attributes variant not null
);

create view events_all as
select * replace (coalesce(source_label, source) as source_label) from events
union all
select * replace (coalesce(source_label, source) as source_label, attributes::variant as attributes) from hot;

-- What each request brought: seqs first_seq to last_seq.
create table batches (
    first_seq bigint not null,
    last_seq bigint not null,
    batch_id uuid not null,
    key_id varchar not null,
    sent_at timestamp,
    received_at timestamp not null,
    source_ip varchar,
    user_agent varchar
);

create table quarantine (
    seq bigint not null,
    id uuid,
    source varchar not null,
    source_label varchar not null,
    name varchar,
    code varchar not null,
    step varchar not null,
    detail varchar not null,
    received_at timestamp not null,
    replays_seq bigint,
    event varchar not null
);

-- Repeats that were dropped; receipts count them.
create table duplicates (
    seq bigint not null,
    id uuid not null,
    source varchar not null,
    created_at timestamp,
    received_at timestamp not null
);

-- Stored events with an id of their own and no timestamp: nothing else narrows the search for their repeats.
create table untimed (source varchar not null, id uuid not null);

-- Outcomes as deltas by minute of received_at: read them by sum.
create table ledger (
    minute bigint not null,
    source varchar not null,
    stored bigint not null,
    duplicate bigint not null,
    quarantined bigint not null,
    suppressed bigint not null,
    removed bigint not null,
    lost bigint not null
);

-- How far the log is loaded: the row with the greatest seq. All of them map a seq to when it was committed.
create table positions (log_id blob not null, seq bigint not null, committed_at timestamp not null);

-- Up to which seq hot rows were looked at by a seal, and what became of them.
create table seals (seq bigint not null, sealed_at timestamp not null, moved bigint not null, kept bigint not null);

-- Which DuckDB opened this file, one row for each change of version.
create table engines (version varchar not null, opened_at timestamp not null);

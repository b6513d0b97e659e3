-- One row, changed in the transaction of every write of objects: roles poll it to learn that a key or schema changed.
create table head (
    id integer primary key check (id = 1),
    revision integer not null
);
insert into head values (1, 0);

-- Every version ever written, also of deleted objects; crc is that of the body's UTF-8 bytes.
create table versions (
    kind text not null,
    project text not null,
    name text not null,
    version integer not null,
    body text not null,
    crc integer not null,
    created_us integer not null,
    updated_us integer not null,
    primary key (kind, project, name, version)
) without rowid;

-- Which version is the present one; no row means deleted or never there.
create table objects (
    kind text not null,
    project text not null,
    name text not null,
    version integer not null,
    primary key (kind, project, name)
) without rowid;

create table answers (
    project text not null,
    scope text not null,
    key text not null,
    answer text not null,
    kept_until_us integer not null,
    primary key (project, scope, key)
) without rowid;
create index answers_by_age on answers (kept_until_us);

create table trimmed (
    project text not null,
    log_id blob not null,
    segment integer not null,
    last_seq integer not null,
    counts text not null,
    crc integer not null,
    primary key (project, log_id, segment)
) without rowid;

create table refused (
    project text not null,
    minute integer not null,
    source text not null,
    n integer not null,
    primary key (project, minute, source)
) without rowid;

-- What became of quarantined events that were sent again: `seq` left the quarantine by the load of `by_seq`. The rows of
-- the quarantine itself stay, since nothing is ever updated; open are those without a row here.
create table replayed (
    seq bigint not null,
    by_seq bigint not null,
    outcome varchar not null  -- stored, duplicate, removed, or quarantined: then the row of `by_seq` is the open one
);

create view quarantine_states as select q.*, r.by_seq, r.outcome from quarantine q left join replayed r using (seq);

-- What retention removed: events that occurred before `before_at`, and refused ones that were received before
-- `quarantine_before_at` (null: none), both from the event after `seq` on. The greatest of each holds for good.
create table removals (
    seq bigint not null,
    before_at timestamp,
    quarantine_before_at timestamp,
    removed_at timestamp not null
);

SELECT
  seq,
  CAST(id AS TEXT) AS id,
  source,
  name,
  code,
  step,
  detail,
  EPOCH_US(received_at) AS received_us,
  replays_seq,
  event,
  by_seq,
  outcome
FROM quarantine_states
WHERE
  id = CAST($1 AS UUID)
ORDER BY
  seq DESC
LIMIT $2

-- $1: '0192f3f0-0000-7000-8000-000000000000'
-- $2: 100

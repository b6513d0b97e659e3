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
  seq = $1
ORDER BY
  seq DESC
LIMIT $2

-- $1: 7
-- $2: 100

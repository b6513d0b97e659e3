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
  received_at < $5
  AND by_seq IS NULL
  AND code = $2
  AND source = $3
  AND name = $4
  AND seq < $6
ORDER BY
  seq DESC
LIMIT $1

-- $1: 101
-- $2: 'TYPE_MISMATCH'
-- $3: 'web'
-- $4: 'buy'
-- $5: datetime.datetime(1970, 1, 1, 1, 0)
-- $6: 9

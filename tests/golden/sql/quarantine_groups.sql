SELECT
  code,
  source,
  COUNT(*) AS count,
  EPOCH_US(MIN(received_at)) AS first_received_us,
  EPOCH_US(MAX(received_at)) AS last_received_us,
  MAX(seq) AS example_seq,
  ARG_MAX(detail, seq) AS example_detail
FROM quarantine_states
WHERE
  received_at >= $2 AND received_at < $3 AND by_seq IS NULL
GROUP BY
  code,
  source
ORDER BY
  count DESC,
  code ASC,
  source ASC
LIMIT $1

-- $1: 100
-- $2: datetime.datetime(1970, 1, 1, 0, 0)
-- $3: datetime.datetime(1970, 1, 1, 1, 0)

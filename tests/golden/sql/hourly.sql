WITH scan AS (
  SELECT
    (
      EPOCH_US(e.occurred_at) - $3
    ) // $4 AS bucket
  FROM events AS e
  WHERE
    e.occurred_at >= $1 AND e.occurred_at < $2
  UNION ALL
  SELECT
    (
      EPOCH_US(e.occurred_at) - $3
    ) // $4 AS bucket
  FROM hot AS e
  WHERE
    e.occurred_at >= $1 AND e.occurred_at < $2
)
SELECT
  bucket,
  COUNT(*) AS m0
FROM scan
GROUP BY
  bucket
ORDER BY
  bucket
LIMIT $5

-- $1: datetime.datetime(1970, 1, 1, 0, 0)
-- $2: datetime.datetime(1970, 1, 2, 0, 0)
-- $3: 0
-- $4: 3600000000
-- $5: 1001

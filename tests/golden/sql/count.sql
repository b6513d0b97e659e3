WITH scan AS (
  SELECT
    1 AS one
  FROM events AS e
  WHERE
    e.occurred_at >= $1 AND e.occurred_at < $2
  UNION ALL
  SELECT
    1 AS one
  FROM hot AS e
  WHERE
    e.occurred_at >= $1 AND e.occurred_at < $2
)
SELECT
  COUNT(*) AS m0
FROM scan
LIMIT $3

-- $1: datetime.datetime(1970, 1, 1, 0, 0)
-- $2: datetime.datetime(1970, 1, 2, 0, 0)
-- $3: 1001

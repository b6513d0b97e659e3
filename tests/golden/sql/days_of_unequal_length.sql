WITH scan AS (
  SELECT
    u.*,
    k.bucket
  FROM (
    SELECT
      e.occurred_at
    FROM events AS e
    WHERE
      e.occurred_at >= $1 AND e.occurred_at < $2
    UNION ALL
    SELECT
      e.occurred_at
    FROM hot AS e
    WHERE
      e.occurred_at >= $1 AND e.occurred_at < $2
  ) AS u
  ASOF JOIN (
    SELECT
      UNNEST(CAST($3 AS TIMESTAMP[])) AS starts_at,
      GENERATE_SUBSCRIPTS(CAST($3 AS TIMESTAMP[]), 1) - 1 AS bucket
  ) AS k
    ON u.occurred_at >= k.starts_at
)
SELECT
  bucket,
  COUNT(*) AS m0
FROM scan
GROUP BY
  bucket
ORDER BY
  bucket
LIMIT $4

-- $1: datetime.datetime(1970, 1, 1, 0, 0)
-- $2: datetime.datetime(1970, 1, 2, 0, 0)
-- $3: [datetime.datetime(1970, 1, 1, 0, 0), datetime.datetime(1970, 1, 1, 23, 0)]
-- $4: 1001

WITH scan AS (
  SELECT
    COALESCE(e.user_agent, CASE WHEN e.seq <= b.last_seq THEN b.user_agent END) AS d0
  FROM events AS e
  ASOF LEFT JOIN batches AS b
    ON e.seq >= b.first_seq
  WHERE
    e.occurred_at >= $1
    AND e.occurred_at < $2
    AND STARTS_WITH(COALESCE(e.source_ip, CASE WHEN e.seq <= b.last_seq THEN b.source_ip END), $3)
  UNION ALL
  SELECT
    COALESCE(e.user_agent, CASE WHEN e.seq <= b.last_seq THEN b.user_agent END) AS d0
  FROM hot AS e
  ASOF LEFT JOIN batches AS b
    ON e.seq >= b.first_seq
  WHERE
    e.occurred_at >= $1
    AND e.occurred_at < $2
    AND STARTS_WITH(COALESCE(e.source_ip, CASE WHEN e.seq <= b.last_seq THEN b.source_ip END), $3)
), ranked AS (
  SELECT
    *,
    ROW_NUMBER() OVER (ORDER BY m0 DESC, d0 ASC) - 1 AS rank
  FROM (
    SELECT
      d0,
      COUNT(*) AS m0
    FROM scan
    GROUP BY
      d0
  ) AS g
  ORDER BY
    rank
  LIMIT $4
)
SELECT
  rank,
  d0,
  m0
FROM ranked
ORDER BY
  rank

-- $1: datetime.datetime(1970, 1, 1, 0, 0)
-- $2: datetime.datetime(1970, 1, 2, 0, 0)
-- $3: '10.'
-- $4: 101

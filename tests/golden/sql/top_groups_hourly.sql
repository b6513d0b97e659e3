WITH scan AS (
  SELECT
    (
      EPOCH_US(e.occurred_at) - $6
    ) // $7 AS bucket,
    CASE
      WHEN VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'VARCHAR'
      THEN CASE
        WHEN STARTS_WITH(CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT), CHR(1))
        THEN CHR(1) || CHR(1) || CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT)
        ELSE CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT)
      END
      WHEN VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'DOUBLE'
      THEN CASE
        WHEN CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT) = '-0.0'
        THEN CHR(1) || '0'
        WHEN ENDS_WITH(CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT), '.0')
        THEN CHR(1) || LEFT(CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT), -2)
        ELSE CHR(1) || CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT)
      END
      ELSE CHR(1) || CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT)
    END AS d0
  FROM events AS e
  WHERE
    e.occurred_at >= $1 AND e.occurred_at < $2
  UNION ALL
  SELECT
    (
      EPOCH_US(e.occurred_at) - $6
    ) // $7 AS bucket,
    CASE
      WHEN VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'VARCHAR'
      THEN CASE
        WHEN STARTS_WITH(CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT), CHR(1))
        THEN CHR(1) || CHR(1) || CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT)
        ELSE CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT)
      END
      WHEN VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'DOUBLE'
      THEN CASE
        WHEN CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT) = '-0.0'
        THEN CHR(1) || '0'
        WHEN ENDS_WITH(CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT), '.0')
        THEN CHR(1) || LEFT(CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT), -2)
        ELSE CHR(1) || CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT)
      END
      ELSE CHR(1) || CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT)
    END AS d0
  FROM hot AS e
  WHERE
    e.occurred_at >= $1 AND e.occurred_at < $2
), cells AS MATERIALIZED (
  SELECT
    bucket,
    d0,
    COUNT(*) AS m0
  FROM scan
  GROUP BY
    bucket,
    d0
), ranked AS (
  SELECT
    *,
    ROW_NUMBER() OVER (ORDER BY m0 DESC, d0 ASC) - 1 AS rank
  FROM (
    SELECT
      d0,
      SUM(m0) AS m0
    FROM cells
    GROUP BY
      d0
  ) AS g
  ORDER BY
    rank
  LIMIT $8
)
SELECT
  r.rank,
  c.bucket,
  c.d0,
  c.m0
FROM cells AS c
JOIN ranked AS r
  ON c.d0 IS NOT DISTINCT FROM r.d0
ORDER BY
  r.rank,
  c.bucket
LIMIT $9

-- $1: datetime.datetime(1970, 1, 1, 0, 0)
-- $2: datetime.datetime(1970, 1, 2, 0, 0)
-- $3: 'geo'
-- $4: 'country'
-- $5: '$."geo"."country"'
-- $6: 0
-- $7: 3600000000
-- $8: 101
-- $9: 1001

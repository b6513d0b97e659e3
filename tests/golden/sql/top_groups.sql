WITH scan AS (
  SELECT
    CASE
      WHEN VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8)) = 'VARCHAR'
      THEN CASE
        WHEN STARTS_WITH(CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8) AS TEXT), CHR(1))
        THEN CHR(1) || CHR(1) || CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8) AS TEXT)
        ELSE CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8) AS TEXT)
      END
      WHEN VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8)) = 'DOUBLE'
      THEN CASE
        WHEN CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8) AS TEXT) = '-0.0'
        THEN CHR(1) || '0'
        WHEN ENDS_WITH(CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8) AS TEXT), '.0')
        THEN CHR(1) || LEFT(CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8) AS TEXT), -2)
        ELSE CHR(1) || CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8) AS TEXT)
      END
      ELSE CHR(1) || CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8) AS TEXT)
    END AS d0,
    e.type AS d1,
    (
      e.name IN ($5, $6)
    ) AS p0,
    CASE
      WHEN VARIANT_TYPE(VARIANT_EXTRACT(e.attributes, $3)) = 'DOUBLE'
      THEN CASE
        WHEN ISFINITE(TRY_CAST(VARIANT_EXTRACT(e.attributes, $3) AS DOUBLE))
        THEN TRY_CAST(VARIANT_EXTRACT(e.attributes, $3) AS DOUBLE)
      END
      WHEN VARIANT_TYPE(VARIANT_EXTRACT(e.attributes, $3)) = 'UINT64'
      THEN CAST(TRY_CAST(VARIANT_EXTRACT(e.attributes, $3) AS UBIGINT) AS DOUBLE)
      WHEN VARIANT_TYPE(VARIANT_EXTRACT(e.attributes, $3)) = 'INT64'
      THEN CAST(TRY_CAST(VARIANT_EXTRACT(e.attributes, $3) AS BIGINT) AS DOUBLE)
    END AS v0
  FROM events AS e
  WHERE
    e.occurred_at >= $1 AND e.occurred_at < $2
  UNION ALL
  SELECT
    CASE
      WHEN VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT)) = 'VARCHAR'
      THEN CASE
        WHEN STARTS_WITH(CAST(CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT) AS TEXT), CHR(1))
        THEN CHR(1) || CHR(1) || CAST(CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT) AS TEXT)
        ELSE CAST(CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT) AS TEXT)
      END
      WHEN VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT)) = 'DOUBLE'
      THEN CASE
        WHEN CAST(CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT) AS TEXT) = '-0.0'
        THEN CHR(1) || '0'
        WHEN ENDS_WITH(CAST(CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT) AS TEXT), '.0')
        THEN CHR(1) || LEFT(CAST(CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT) AS TEXT), -2)
        ELSE CHR(1) || CAST(CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT) AS TEXT)
      END
      ELSE CHR(1) || CAST(CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT) AS TEXT)
    END AS d0,
    e.type AS d1,
    (
      e.name IN ($5, $6)
    ) AS p0,
    CASE
      WHEN VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $4) AS VARIANT)) = 'DOUBLE'
      THEN CASE
        WHEN ISFINITE(TRY_CAST(CAST(JSON_EXTRACT(e.attributes, $4) AS VARIANT) AS DOUBLE))
        THEN TRY_CAST(CAST(JSON_EXTRACT(e.attributes, $4) AS VARIANT) AS DOUBLE)
      END
      WHEN VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $4) AS VARIANT)) = 'UINT64'
      THEN CAST(TRY_CAST(CAST(JSON_EXTRACT(e.attributes, $4) AS VARIANT) AS UBIGINT) AS DOUBLE)
      WHEN VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $4) AS VARIANT)) = 'INT64'
      THEN CAST(TRY_CAST(CAST(JSON_EXTRACT(e.attributes, $4) AS VARIANT) AS BIGINT) AS DOUBLE)
    END AS v0
  FROM hot AS e
  WHERE
    e.occurred_at >= $1 AND e.occurred_at < $2
), ranked AS (
  SELECT
    *,
    ROW_NUMBER() OVER (ORDER BY m1 DESC, d1 ASC, d0 ASC, d1 ASC) - 1 AS rank
  FROM (
    SELECT
      d0,
      d1,
      COUNT(*) AS m0,
      FSUM(v0) FILTER(WHERE
        p0) AS m1
    FROM scan
    GROUP BY
      d0,
      d1
  ) AS g
  ORDER BY
    rank
  LIMIT $10
)
SELECT
  rank,
  d0,
  d1,
  m0,
  m1
FROM ranked
ORDER BY
  rank

-- $1: datetime.datetime(1970, 1, 1, 0, 0)
-- $2: datetime.datetime(1970, 1, 2, 0, 0)
-- $3: 'amount'
-- $4: '$."amount"'
-- $5: 'buy'
-- $6: 'refund'
-- $7: 'geo'
-- $8: 'country'
-- $9: '$."geo"."country"'
-- $10: 101

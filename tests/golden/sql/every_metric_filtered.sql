WITH scan AS (
  SELECT
    (
      e.name IN ($5, $6)
    ) AS p0,
    (
      NOT VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8) IS NULL
    ) AS p1,
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
    e.occurred_at >= $1
    AND e.occurred_at < $2
    AND (
      (
        e.name IN ($5, $6)
      )
      OR (
        NOT VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $7), $8) IS NULL
      )
    )
  UNION ALL
  SELECT
    (
      e.name IN ($5, $6)
    ) AS p0,
    (
      NOT CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT) IS NULL
    ) AS p1,
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
    e.occurred_at >= $1
    AND e.occurred_at < $2
    AND (
      (
        e.name IN ($5, $6)
      )
      OR (
        NOT CAST(JSON_EXTRACT(e.attributes, $9) AS VARIANT) IS NULL
      )
    )
)
SELECT
  FSUM(v0) FILTER(WHERE
    p0) AS m0,
  COUNT(*) FILTER(WHERE
    p1) AS m1
FROM scan
LIMIT $10

-- $1: datetime.datetime(1970, 1, 1, 0, 0)
-- $2: datetime.datetime(1970, 1, 2, 0, 0)
-- $3: 'amount'
-- $4: '$."amount"'
-- $5: 'buy'
-- $6: 'refund'
-- $7: 'geo'
-- $8: 'country'
-- $9: '$."geo"."country"'
-- $10: 1001

WITH scan AS (
  SELECT
    e.occurred_at,
    e.seq,
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
    END AS v0,
    e.actor AS v1
  FROM events AS e
  WHERE
    e.occurred_at >= $1 AND e.occurred_at < $2
  UNION ALL
  SELECT
    e.occurred_at,
    e.seq,
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
    END AS v0,
    e.actor AS v1
  FROM hot AS e
  WHERE
    e.occurred_at >= $1 AND e.occurred_at < $2
)
SELECT
  FSUM(v0) FILTER(WHERE
    p0) AS m0,
  COUNT(DISTINCT v1) FILTER(WHERE
    p0) AS m1,
  ARG_MAX(v0, (occurred_at, seq)) AS m2,
  FAVG(v0) AS m3,
  MIN(v0) AS m4,
  MAX(v0) AS m5,
  QUANTILE_CONT(v0, 0.50) AS m6,
  QUANTILE_CONT(v0, 0.99) AS m7
FROM scan
LIMIT $7

-- $1: datetime.datetime(1970, 1, 1, 0, 0)
-- $2: datetime.datetime(1970, 1, 2, 0, 0)
-- $3: 'amount'
-- $4: '$."amount"'
-- $5: 'buy'
-- $6: 'refund'
-- $7: 1001

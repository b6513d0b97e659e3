WITH scan AS (
  SELECT
    1 AS one
  FROM events AS e
  WHERE
    e.occurred_at >= $1
    AND e.occurred_at < $2
    AND NOT COALESCE(
      CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT) = $6
      AND VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'VARCHAR',
      FALSE
    )
    AND (
      (
        CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT) IN (CAST($7 AS TEXT), CAST($8 AS TEXT))
        AND VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) IN ('UINT64', 'INT64')
      )
      OR (
        VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'DOUBLE'
        AND TRY_CAST(CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT) AS DOUBLE) IN (CAST($7 AS DOUBLE), CAST($8 AS DOUBLE))
      )
    )
    AND (
      VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'DOUBLE'
      AND TRY_CAST(CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT) AS DOUBLE) IN ($9)
    )
    AND VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) IN (CASE WHEN $10 THEN 'BOOL_TRUE' ELSE 'BOOL_FALSE' END)
    AND CASE
      WHEN VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'DOUBLE'
      THEN CASE
        WHEN ISFINITE(TRY_CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS DOUBLE))
        THEN TRY_CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS DOUBLE)
      END
      WHEN VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'UINT64'
      THEN CAST(TRY_CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS UBIGINT) AS DOUBLE)
      WHEN VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'INT64'
      THEN CAST(TRY_CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS BIGINT) AS DOUBLE)
    END BETWEEN $11 AND $12
    AND (
      CONTAINS(
        LOWER(CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT)),
        LOWER($13)
      )
      AND VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'VARCHAR'
    )
    AND (
      REGEXP_MATCHES(CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT), $14, 'i')
      AND VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'VARCHAR'
    )
    AND ENDS_WITH(e.source, $15)
    AND FALSE
    AND e.occurred_at > $16
    AND NOT COALESCE(
      (
        (
          CAST(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4) AS TEXT) < $17
          AND VARIANT_TYPE(VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $3), $4)) = 'VARCHAR'
        )
        OR NOT VARIANT_EXTRACT(VARIANT_EXTRACT(e.attributes, $18), $19) IS NULL
      ),
      FALSE
    )
  UNION ALL
  SELECT
    1 AS one
  FROM hot AS e
  WHERE
    e.occurred_at >= $1
    AND e.occurred_at < $2
    AND NOT COALESCE(
      CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT) = $6
      AND VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'VARCHAR',
      FALSE
    )
    AND (
      (
        CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT) IN (CAST($7 AS TEXT), CAST($8 AS TEXT))
        AND VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) IN ('UINT64', 'INT64')
      )
      OR (
        VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'DOUBLE'
        AND TRY_CAST(CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT) AS DOUBLE) IN (CAST($7 AS DOUBLE), CAST($8 AS DOUBLE))
      )
    )
    AND (
      VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'DOUBLE'
      AND TRY_CAST(CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT) AS DOUBLE) IN ($9)
    )
    AND VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) IN (CASE WHEN $10 THEN 'BOOL_TRUE' ELSE 'BOOL_FALSE' END)
    AND CASE
      WHEN VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'DOUBLE'
      THEN CASE
        WHEN ISFINITE(TRY_CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS DOUBLE))
        THEN TRY_CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS DOUBLE)
      END
      WHEN VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'UINT64'
      THEN CAST(TRY_CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS UBIGINT) AS DOUBLE)
      WHEN VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'INT64'
      THEN CAST(TRY_CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS BIGINT) AS DOUBLE)
    END BETWEEN $11 AND $12
    AND (
      CONTAINS(LOWER(CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT)), LOWER($13))
      AND VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'VARCHAR'
    )
    AND (
      REGEXP_MATCHES(CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT), $14, 'i')
      AND VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'VARCHAR'
    )
    AND ENDS_WITH(e.source, $15)
    AND FALSE
    AND e.occurred_at > $16
    AND NOT COALESCE(
      (
        (
          CAST(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT) AS TEXT) < $17
          AND VARIANT_TYPE(CAST(JSON_EXTRACT(e.attributes, $5) AS VARIANT)) = 'VARCHAR'
        )
        OR NOT CAST(JSON_EXTRACT(JSON_EXTRACT(e.attributes, $20), $21) AS VARIANT) IS NULL
      ),
      FALSE
    )
)
SELECT
  COUNT(*) AS m0
FROM scan
LIMIT $22

-- $1: datetime.datetime(1970, 1, 1, 0, 0)
-- $2: datetime.datetime(1970, 1, 2, 0, 0)
-- $3: 'geo'
-- $4: 'country'
-- $5: '$."geo"."country"'
-- $6: 'DE'
-- $7: 1
-- $8: 2
-- $9: 1.5
-- $10: True
-- $11: 1.0
-- $12: 2.0
-- $13: 'x'
-- $14: '^a'
-- $15: 'z'
-- $16: datetime.datetime(1970, 1, 1, 1, 0)
-- $17: 'm'
-- $18: '*'
-- $19: '0'
-- $20: '/*'
-- $21: '$."0"'
-- $22: 1001

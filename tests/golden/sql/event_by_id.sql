WITH found AS (
  (
    SELECT
      e.seq,
      e.id,
      e.type,
      e.name,
      e.source,
      e.actor,
      e.version,
      e.session_id,
      e.created_at,
      e.occurred_at,
      e.clamped,
      e.received_at,
      e.source_ip,
      e.user_agent,
      e.client_batch_id,
      e.replays_seq,
      CAST(CAST(e.attributes AS JSON) AS TEXT) AS attributes
    FROM events AS e
    WHERE
      e.id = CAST($1 AS UUID)
    ORDER BY
      e.occurred_at DESC,
      e.seq DESC
    LIMIT $2
  )
  UNION ALL
  (
    SELECT
      e.seq,
      e.id,
      e.type,
      e.name,
      e.source,
      e.actor,
      e.version,
      e.session_id,
      e.created_at,
      e.occurred_at,
      e.clamped,
      e.received_at,
      e.source_ip,
      e.user_agent,
      e.client_batch_id,
      e.replays_seq,
      CAST(e.attributes AS TEXT) AS attributes
    FROM hot AS e
    WHERE
      e.id = CAST($1 AS UUID)
    ORDER BY
      e.occurred_at DESC,
      e.seq DESC
    LIMIT $2
  )
)
SELECT
  e.seq AS seq,
  CAST(e.id AS TEXT) AS id,
  e.type AS type,
  e.name AS name,
  e.source AS source,
  e.actor AS actor,
  e.version AS version,
  e.session_id AS session_id,
  EPOCH_US(e.created_at) AS created_us,
  EPOCH_US(e.occurred_at) AS occurred_us,
  e.clamped AS clamped,
  EPOCH_US(e.received_at) AS received_us,
  COALESCE(e.source_ip, CASE WHEN e.seq <= b.last_seq THEN b.source_ip END) AS source_ip,
  COALESCE(e.user_agent, CASE WHEN e.seq <= b.last_seq THEN b.user_agent END) AS user_agent,
  e.client_batch_id AS client_batch_id,
  CAST(CASE WHEN e.seq <= b.last_seq THEN b.batch_id END AS TEXT) AS batch_id,
  e.replays_seq AS replays_seq,
  e.attributes AS attributes
FROM found AS e
ASOF LEFT JOIN batches AS b
  ON e.seq >= b.first_seq
ORDER BY
  e.occurred_at DESC,
  e.seq DESC
LIMIT $2

-- $1: '0192f3f0-0000-7000-8000-000000000000'
-- $2: 100

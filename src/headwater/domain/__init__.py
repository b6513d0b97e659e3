"""The nouns: events, batches, metrics, queries, schemas, errors. Frozen data and pure functions; no IO."""

"""Files become events: web logs, NDJSON, JSON, CSV."""

"""Files become events: web logs, NDJSON, JSON, CSV. Start at `run.py`; one file per format.

What is promised for every format:

- **The same file twice stores nothing twice.** An event without an `id` gets UUIDv5 of its source, its line number and
  its line, so it has an id of its own on every import. The collector knows a repeat by (source, id, timestamp or its
  absence), and those three follow from the line alone: an event without a timestamp is known again, too.
- **Every event names its place.** `data.metadata.batchId` is `<file>:<line>` unless the file sets its own, so a row in
  the warehouse or in quarantine leads back to its line, whoever refused it.
- **A line that can't be read goes to quarantine**, as an event of the file's source whose `data.attributes` is the text
  of the line where an object must be, and whose `import` field names file, line, code and why (see `records.py`).
- **Memory is flat**: blocks of 1 MiB in, chunks of at most 1,000 events out.
- **An import goes on where it was killed**: `state.py` keeps how far the collector has acknowledged.
"""

"""Which log a project has, written down in the catalog: one that is gone or exchanged is not taken for its own.

The warehouse and the lake know it too, by their positions; a collector on its own has nothing but this.
"""

from collections import Counter

from headwater.domain.errors import Damaged
from headwater.process.decoders import Inline
from headwater.process.ledger import OUTCOMES
from headwater.storage.catalog.base import Catalog
from headwater.storage.log.base import Damage, LogReader, SegmentCounts
from headwater.storage.warehouse.base import Warehouse

KIND = "log"
NAME = "log"
MINUTES_MAX = 1 << 40


class LogBook:
    def __init__(self, catalog: Catalog, project: str) -> None:
        self.catalog = catalog
        self.project = project

    def known(self) -> bytes | None:
        """The log's id as it was last; None where there was none yet."""
        stored = self.catalog.get(KIND, self.project, NAME)
        return bytes.fromhex(stored.body["id"]) if stored is not None else None

    def remember(self, log_id: bytes) -> None:
        if self.known() != log_id:
            self.catalog.put(KIND, self.project, NAME, {"id": log_id.hex()})

    def check(self, log_id: bytes) -> None:
        """For a process that has no store to ask. Raises Damaged (OTHER_LOG)."""
        if self.known() not in (None, log_id):
            raise Damaged(
                f"the log of project {self.project!r} is not the one it had; put the old log's folder back, or start "
                "once with --new-log and all roles to set this one aside and begin a new one",
                code="OTHER_LOG",
            )

    def keep_received(self, warehouse: Warehouse, reader: LogReader) -> int:
        """Write down as received what came to an end in the warehouse and no header or trimmed count tells any more.

        Headers go with a log that is given up, and counts of trimmed segments with a catalog. How many that were.
        """
        position = warehouse.position()
        if position is None:
            return 0
        missing = +self._ended_less_received(warehouse, reader, position.seq)
        if missing:
            # Segments are named by their first seq: a negative one is none of them.
            counts = SegmentCounts(position.log_id, -position.seq, position.seq, dict(missing))
            self.catalog.add_trimmed(self.project, counts)
        return missing.total()

    def count_lost(self, warehouse: Warehouse, reader: LogReader) -> int:
        """Take the warehouse over a gap before the log's first frame that a person has accepted; how many are lost.

        What was received there and came to no end counts as lost, so that the ledger balances and says it.
        """
        position = warehouse.position()
        begin, end = position.seq if position is not None else 0, reader.first_seq() - 1
        lost = +Counter({key: -n for key, n in self._ended_less_received(warehouse, reader, end).items()})
        decoder = Inline()
        decoder.submit([Damage(begin + 1, end - begin, dict(lost), "given up")], begin, reader.log_id)
        block, _ = decoder.take()
        warehouse.load(block)
        return lost.total()

    def _ended_less_received(self, warehouse: Warehouse, reader: LogReader, seq: int) -> "Counter[tuple[int, str]]":
        """By minute and source: what came to an end in the warehouse, less what was received up to that seq."""
        difference: Counter[tuple[int, str]] = Counter()
        for row in warehouse.ledger(0, MINUTES_MAX, None).rows:
            difference[row.minute, row.source] = sum(getattr(row, outcome) for outcome in OUTCOMES)
        for segment in (*self.catalog.trimmed(self.project), *reader.headers(0)):
            difference.subtract(dict(segment.counts))
        for segment in reader.headers(max(seq, reader.first_seq() - 1)):
            difference.update(dict(segment.counts))
        return difference

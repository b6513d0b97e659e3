"""Which leases have run out, as seen by a watcher: no clock is compared with any other, so none can be wrong."""

from collections.abc import Iterable

from headwater.storage.catalog.jobs import Lease

LOOK_SECONDS_MAX = 0.5
"""What one look can add to a lease's age: a watcher that was itself stopped for an hour has seen nothing of it."""
DOUBT_SECONDS = 2.0


class Watch:
    """Counts, by its own monotonic clock, how long each lease has stood still. One thread."""

    def __init__(self, lease_seconds: float) -> None:
        self.lease_seconds = lease_seconds
        self._ages: dict[Lease, float] = {}
        self._looked_at: float | None = None

    def look(self, leases: Iterable[Lease], now: float) -> list[Lease]:
        """Those that were seen standing still for the lease's time. `now`: monotonic seconds."""
        passed = 0.0 if self._looked_at is None else min(now - self._looked_at, LOOK_SECONDS_MAX)
        self._looked_at = now
        self._ages = {lease: self._ages[lease] + passed if lease in self._ages else 0.0 for lease in leases}
        return [lease for lease, age in self._ages.items() if age >= self.lease_seconds]

    def doubt(self, lease: Lease) -> None:
        """The catalog could not be written just now, so its holder may not have been able to either: wait longer."""
        self._ages[lease] = self.lease_seconds - DOUBT_SECONDS

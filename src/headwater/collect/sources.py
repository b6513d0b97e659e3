"""The sources that the ledger tells apart: the first so many of a project, and `(other)` for the rest."""

from collections.abc import Iterable, Mapping

from headwater.domain.events import OTHER_SOURCE, UNKNOWN_SOURCE

OURS = frozenset((OTHER_SOURCE, UNKNOWN_SOURCE))


class Labels:
    """Ledger labels of one project: a source that has become one stays one; beyond `sources_max` it is `(other)`."""

    def __init__(self, known: Iterable[str], sources_max: int) -> None:
        self.sources_max = sources_max
        self._known = set(known) - OURS

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, source: str) -> bool:
        return source in self._known

    def label(self, source: str) -> str:
        """The label of a source, which becomes one where there is room."""
        if source in self._known or source in OURS:
            return source
        if len(self._known) >= self.sources_max:
            return OTHER_SOURCE
        self._known.add(source)
        return source

    def counts(self, sources: Mapping[str, int]) -> dict[str, int]:
        """Events by label from events by source."""
        counts: dict[str, int] = {}
        for source, n in sources.items():
            label = self.label(source)
            counts[label] = counts.get(label, 0) + n
        return counts

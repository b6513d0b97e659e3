"""Steps: who an event is (id, source, ledger label) and what it is called."""

from hashlib import sha1
from typing import cast

from headwater.domain.events import OTHER_SOURCE
from headwater.process.work import Work


def identify(work: Work) -> Work:
    """id and has_id: the client's id, else the one derived from its batch."""
    ids = [row.id for row in work.rows]
    if None not in ids:
        return work.with_columns(id=ids, has_id=[True] * len(ids))
    has_id = [True] * len(ids)
    for place, event_id in enumerate(ids):
        if event_id is None:
            held = work.held[work.owner[place]]
            ids[place] = derived_text(held.batch.id_base, work.seq[place] - held.first_seq)
            has_id[place] = held.batch.recognisable
    return work.with_columns(id=ids, has_id=has_id)


def derived_text(base: bytes, index: int) -> str:
    """`domain.events.derived_id` as 32 hex digits, without the UUID objects: a third of its time."""
    digits = sha1(base + b"%d" % index, usedforsecurity=False).digest()[:16].hex()
    return f"{digits[:12]}5{digits[13:16]}{'89ab'[int(digits[16], 16) & 3]}{digits[17:]}"


def describe(work: Work) -> Work:
    """source, source_label, type, name, version, with their defaults."""
    sources = _sources(work)
    types = [row.type for row in work.rows]
    names = [row.type if row.name is None else row.name for row in work.rows]
    return work.with_columns(
        source=sources,
        source_label=_labels(work, sources),
        type=types,
        name=names,
        version=[row.version for row in work.rows],
    )


def _sources(work: Work) -> list[str]:
    sent = [row.source for row in work.rows]
    if None not in sent:
        return cast(list[str], sent)
    defaults = work.per_event(held.batch.source for held in work.held)
    return [default if source is None else source for source, default in zip(sent, defaults, strict=True)]


def _labels(work: Work, sources: list[str]) -> list[str]:
    known = frozenset.intersection(*{held.labels for held in work.held}) if work.held else frozenset()
    if known.issuperset(sources):
        return sources
    return [label_of(source, work.held[k].labels) for source, k in zip(sources, work.owner, strict=True)]


def label_of(source: str, labels: frozenset[str]) -> str:
    """The ledger's word for a source in a frame that counted under `labels`; a replay's frame counts nothing."""
    return source if not labels or source in labels else OTHER_SOURCE

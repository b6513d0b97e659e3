"""The body of a 201 or 202: counts, and what is told of single events."""

from collections.abc import Sequence

import msgspec

from headwater.collect.intake import Receipt
from headwater.collect.judge import Note
from headwater.collect.repeats import Known
from headwater.domain.events import derived_id


def body_of(receipt: Receipt, again: Sequence[Known] = ()) -> bytes:
    """`again`: events known to have come before."""
    if not receipt.notes and not again:
        return b'{"accepted":%d,"duplicate":0,"quarantined":0,"batchId":"%s","results":[]}' % (
            receipt.n,
            receipt.batch_id_text.encode(),
        )
    answer = {
        "accepted": receipt.n - receipt.verdicts - len(again),
        "duplicate": len(again),
        "quarantined": receipt.verdicts,
        "batchId": receipt.batch_id_text,
        "results": [
            {
                "index": note.index,
                "id": receipt.id_of(note),
                "status": _status_of(note, receipt.suppressed),
                "code": note.code,
                "detail": note.detail,
            }
            for note in receipt.notes
        ]
        + [
            {
                "index": index,
                "id": derived_id(receipt.id_base, index) if own is None else own,
                "status": "duplicate",
            }
            for index, own in again
        ],
    }
    return msgspec.json.encode(answer)


def _status_of(note: Note, suppressed: frozenset[int]) -> str:
    if not note.quarantine:
        return "warning"
    return "suppressed" if note.index in suppressed else "quarantined"

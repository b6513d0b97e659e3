"""The body of a 201 or 202: counts, and what is told of single events."""

import msgspec

from headwater.collect.intake import Receipt
from headwater.collect.judge import Note


def body_of(receipt: Receipt) -> bytes:
    if not receipt.notes:
        return b'{"accepted":%d,"duplicate":0,"quarantined":0,"batchId":"%s","results":[]}' % (
            receipt.n,
            receipt.batch_id_text.encode(),
        )
    answer = {
        "accepted": receipt.n - receipt.verdicts,
        "duplicate": 0,
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
        ],
    }
    return msgspec.json.encode(answer)


def _status_of(note: Note, suppressed: frozenset[int]) -> str:
    if not note.quarantine:
        return "warning"
    return "suppressed" if note.index in suppressed else "quarantined"

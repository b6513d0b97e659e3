"""Step: what came with an event: who did it, in which session, from where, and its attributes as text."""

from headwater.process.work import Work


def context(work: Work) -> Work:
    """actor, session_id, source_ip, user_agent, client_batch_id, attributes, replays_seq."""
    data = [row.data for row in work.rows]
    metadata = [item.metadata for item in data]
    return work.with_columns(
        actor=[row.actor for row in work.rows],
        session_id=[item.session_id for item in metadata],
        source_ip=_addresses(work, [item.source_ip for item in metadata]),
        user_agent=[item.user_agent for item in metadata],
        client_batch_id=[item.batch_id for item in metadata],
        attributes=[item.attributes for item in data],
        replays_seq=_replayed(work),
    )


def _addresses(work: Work, sent: list[str | None]) -> list[str | None]:
    """What events say of their address is believed of secret keys only; else that of the connection stands."""
    public = [held.batch.public for held in work.held]
    if True not in public:
        return sent
    return [None if public[k] else address for address, k in zip(sent, work.owner, strict=True)]


def _replayed(work: Work) -> list[int | None]:
    if not any(held.batch.replays_seq for held in work.held):
        return [None] * len(work.rows)
    return [
        held.batch.replays_seq[seq - held.first_seq] if held.batch.replays_seq else None
        for held, seq in zip(work.per_event(work.held), work.seq, strict=True)
    ]

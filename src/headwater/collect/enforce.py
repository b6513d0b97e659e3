"""Do the attributes keep to the schema that is declared for the event."""

from collections.abc import Sequence

from msgspec import UNSET, Raw

from headwater.domain.events import Event
from headwater.domain.schemas import Finding, Rules

NOTHING = Raw(b"{}")


def keep_all(events: Sequence[Event], rules: Rules) -> bool:
    """True where there is nothing to say about any event of the batch."""
    return not rules.applies or not any(findings_on(event, rules) for event in events)


def findings_on(event: Event, rules: Rules) -> list[Finding]:
    """What the schema of (name, version) has against an event. Name defaults to the type, version to `1`."""
    name = event.name if event.name is not UNSET else str(event.type)
    version = "1" if event.version is UNSET else event.version
    return rules.check(name, version, NOTHING if event.data is UNSET else event.data.attributes)

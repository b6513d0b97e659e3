"""The limits on one body and one event."""

import msgspec


class Bounds(msgspec.Struct, frozen=True):
    """Settings of the room `collect` that hold per request. Reaching one is answered with its own code."""

    body_bytes_max: int = 10 << 20
    expanded_bytes_max: int = 50 << 20
    batch_events_max: int = 10_000
    event_bytes_max: int = 1 << 20
    attributes_max: int = 1000
    """Top-level attributes of an event."""
    depth_max: int = 100
    """Levels of nesting, the event itself being the first."""
    string_bytes_max: int = 256 << 10
    """A text among the attributes, as it stands in the body between its quotes."""

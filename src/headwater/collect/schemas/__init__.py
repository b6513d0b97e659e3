"""Schemas made from events (`learn`, `propose`), compared (`compare`) and tried on events (`trial`). No IO."""

"""Columns of the relation of questions that have a meaning of their own: names that no key or column of a view has."""

from __future__ import annotations

QUESTION, AS_OF, POSITION, KNOWN_US, IN_HAND = (
    f"asked {name}" for name in ("question", "as_of", "position", "known_us", "in_hand")
)
"""Number from 0; time (µs); 32 hex digits; commit time (µs); id of the row in hand."""

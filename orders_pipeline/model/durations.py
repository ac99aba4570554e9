"""Lengths of time as people read them."""

from __future__ import annotations

# What is shown where there is no value.
NOTHING = "-"


def duration(seconds: float | None) -> str:
    """A length of time for people: 42 s, 7 min, 3.5 h, 2.1 d; NOTHING for none."""
    if seconds is None:
        return NOTHING
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if abs(seconds) < limit:
            return f"{seconds / size:.0f} {unit}" if size < 3600 else f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86_400:.1f} d"

"""A glyph (16 by 16) and a colour family for every operator, so that steps do not differ by colour only."""

from __future__ import annotations

from typing import Final

GLYPHS: Final = {
    "on": "M9 1.8 3.8 9H8l-1 5.2L12.2 7H8z",
    "resolve": "M11 7A4 4 0 1 1 3 7a4 4 0 0 1 8 0zM10 10l3.8 3.8",
    "fan_out": "M2 8h4.5M6.5 8l5-4.8M6.5 8h6M6.5 8l5 4.8M11 2.8h2.2V5M11 13.2h2.2V11M12 6.5 13.5 8 12 9.5",
    "for_each": "M2.2 3.5v9h2M2.2 3.5h2M7 4.2h6.5M7 8h6.5M7 11.8h6.5",
    "where": "M2.2 3h11.6L9.5 8.2v4.3L6.5 14V8.2z",
    "deduplicate": "M2.5 2.5h7.5V10H2.5zM6 13.5h7.5V6",
    "batch": "M2.2 5 8 2.2 13.8 5 8 7.8zM2.2 8.2 8 11l5.8-2.8M2.2 11.2 8 14l5.8-2.8",
    "rate_limit": "M2.8 12.5a6.2 6.2 0 1 1 10.4 0M8 10.5 11 6.5M2.8 12.5h1.5M11.7 12.5h1.5",
    "cap": "M3 4h10M3 13.5V7M6.3 13.5V7M9.7 13.5V7M13 13.5V7",
    "wait": "M13.8 8A5.8 5.8 0 1 1 2.2 8a5.8 5.8 0 0 1 11.6 0zM8 4.2V8l2.6 1.8",
    "map": "M6.2 2.5c-2.5 0-1.7 2-1.8 3.5S3.8 7.8 2.5 8c1.3.2 1.8.5 1.9 2s-.7 3.5 1.8 3.5"
    "M9.8 2.5c2.5 0 1.7 2 1.8 3.5s.6 1.8 1.9 2c-1.3.2-1.8.5-1.9 2s.7 3.5-1.8 3.5",
    "deliver": "M2 7.8 14 2.2 10.5 13.8 7.5 9zM7.5 9 14 2.2",
    "sink": "M2.5 9 4.5 3h7l2 6v4.2h-11zM2.5 9h3l1 2h3l1-2h3",
    "dropped": "M13.5 8A5.5 5.5 0 1 1 2.5 8a5.5 5.5 0 0 1 11 0zM4.2 11.8l7.6-7.6",
    "failed": "M8 2.2 14.3 13.5H1.7zM8 6.5v3.2M8 11.6v.1",
    "absorbed": "M3 2.5v2.2C3 7.5 8 7 8 10.5v3M13 2.5v2.2C13 7.5 8 7 8 10.5M5.8 11.5 8 13.8l2.2-2.3",
    "held": "M4 2.2h8M4 13.8h8M5 2.2c0 4.3 6 6.3 6 11.6M11 2.2c0 4.3-6 6.3-6 11.6",
    "came": "M4 2.2h8M4 13.8h8M5 2.2c0 4.3 6 6.3 6 11.6M11 2.2c0 4.3-6 6.3-6 11.6",
    "branches": "M8 3v10M3 8h10",
    "passed": "M3 8.5 6.5 12 13 4.5",
    "stopped": "M4 4l8 8M12 4l-8 8",
}
FAMILY: Final = {
    "on": "trigger",
    "resolve": "look",
    "fan_out": "fan",
    "for_each": "fan",
    "where": "where",
    "deduplicate": "time",
    "batch": "time",
    "rate_limit": "time",
    "cap": "time",
    "wait": "time",
    "map": "map",
    "deliver": "sink",
    "sink": "sink",
}


def glyph(name: str) -> str:
    """Return the outline of a glyph; an operator without one gets that of `map`."""
    return GLYPHS.get(name, GLYPHS["map"])


def family(name: str) -> str:
    """Return the palette name of the colour of an operator or an exit."""
    return FAMILY.get(name, name if name in GLYPHS else "map")

"""The result of a leak scan, and the scan of one value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field

from orders_pipeline.privacy.checks.leak_decoding import Decoder
from orders_pipeline.privacy.checks.leak_shapes import shapes_in, words_of
from orders_pipeline.privacy.checks.stored_values import StoredValues

HELD_VALUE = "held value"
MAY_NOT_BE_READ = "it may not be read"
TIME_WAS_UP = "the time was up"
SHORTEST_TEXT = 6
# States, ids and times come again and again; looking once is enough. Bounds the memory.
CLEAN_TEXTS_REMEMBERED = 50_000
REMEMBERED_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was found, and of which kind. `times` counts rows, or pieces of a file."""

    where: str
    kind: str
    times: int


@dataclass(slots=True)
class LeakScan:
    """What was looked through and what was found.

    `not_scanned` counts what should have been looked at and was not, by place and reason. `left_out` names what is
    never looked at, and why that is right.
    """

    rows: int = 0
    files: int = 0
    bytes: int = 0
    hashed_records: int = 0
    unreadable: int = 0
    found: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    not_scanned: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    left_out: list[str] = field(default_factory=list[str])

    @property
    def places(self) -> list[Place]:
        return [Place(where, kind, times) for (where, kind), times in sorted(self.found.items())]

    @property
    def complete(self) -> bool:
        """Whether the time was enough."""
        return all(why != TIME_WAS_UP for _, why in self.not_scanned)

    @property
    def not_readable(self) -> int:
        return sum(times for (_, why), times in self.not_scanned.items() if why != TIME_WAS_UP)

    def as_metadata(self) -> dict[str, int | float | bool]:
        return {
            "places": len({where for where, _ in self.found}),
            "times": sum(self.found.values()),
            "rows": self.rows,
            "files": self.files,
            "bytes": self.bytes,
            "hashed_records": self.hashed_records,
            "unreadable": self.unreadable,
            "not_readable": self.not_readable,
            "not_scanned": sum(self.not_scanned.values()),
            "complete": self.complete,
        }


class LeakScanner:
    """Looks at one value after another, in every encoding, remembering short ones that were clean."""

    def __init__(self, held: StoredValues, scan: LeakScan, staff: Set[str] = frozenset()) -> None:
        self._held = held
        self._staff = staff
        self._scan = scan
        self._decoder = Decoder()
        self._clean: set[str | bytes] = set()

    def examine(self, value: str | bytes, where: str) -> None:
        """Count what the value holds under its place."""
        if len(value) < SHORTEST_TEXT or value in self._clean:
            return
        kinds = self.kinds_in(value)
        for kind in kinds:
            self._scan.found[where, kind] += 1
        for why in self._decoder.unfinished:
            self._scan.not_scanned[where, why] += 1
        if not kinds and not self._decoder.unfinished and len(value) <= REMEMBERED_CHARACTERS:
            if len(self._clean) >= CLEAN_TEXTS_REMEMBERED:
                self._clean.clear()
            self._clean.add(value)

    def kinds_in(self, value: str | bytes) -> set[str]:
        """Of what the value holds: the names of shapes, and whether it is a held value."""
        kinds: set[str] = set()
        data = value.encode(errors="replace") if isinstance(value, str) else value
        for reading in self._decoder.readings(data):
            kinds.update(shapes_in(reading.for_shapes(), self._staff))
            if HELD_VALUE not in kinds and self._held.holds_any_of(words_of(reading.text)):
                kinds.add(HELD_VALUE)
        return kinds

"""The cursor of a poll: up to when Tryton's changes were read, and where a reading that takes several pages goes on.

Tryton stamps a change with the time at which its transaction began, and shows it when that ends: a change may appear
with a time that was read past already. So every half minute a reading begins an overlap before what was read, and once
an hour a day before it; those between read only what is new. What is read again gives the same events, which the store
knows by their ids.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

# "Ship" for some thousand shipments at once is one transaction, at some 0.1 s each.
OVERLAP, OVERLAP_EVERY = timedelta(minutes=10), timedelta(seconds=30)
# A transaction of an import takes hours, and a clock that was wrong is set back by any time.
LONG_OVERLAP, LONG_OVERLAP_EVERY = timedelta(days=1), timedelta(hours=1)
# A server tells its time in whole seconds.
_ROUNDING = timedelta(seconds=2)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# Behind every change of a moment.
_LAST = (1 << 16, 1 << 62)


@dataclass(frozen=True, slots=True)
class Place:
    """After which change of which model a page begins: those of one moment have the order of `kind` and id."""

    at: datetime = _BEGINNING
    kind: int = 0
    id: int = 0


@dataclass(frozen=True, slots=True)
class Cursor:
    """`read_to`: the newest change that was read. The others: when a reading with that overlap was whole, or began.

    `place` is None unless a reading is under way.
    """

    read_to: datetime = _BEGINNING
    overlapped_at: datetime = _BEGINNING
    looked_back_at: datetime = _BEGINNING
    place: Place | None = None

    def begin(self, now: datetime) -> tuple[Place, Cursor]:
        """Where to read from, and the cursor to go on with. `now`: by Tryton's clock."""
        if self.place is not None:
            return self.place, self
        # A change of the future is none: the clock was wrong, and is not any more.
        read_to = min(self.read_to, now + _ROUNDING)
        begun = replace(self, read_to=read_to)
        if _is_over(self.looked_back_at, LONG_OVERLAP_EVERY, now):
            return Place(_before(read_to, LONG_OVERLAP)), replace(begun, looked_back_at=now)
        if _is_over(self.overlapped_at, OVERLAP_EVERY, now):
            return Place(_before(read_to, OVERLAP)), begun
        return Place(read_to, *_LAST), begun

    def after(self, last: Place | None, now: datetime, *, is_whole: bool) -> Cursor:
        """The cursor behind a page that ended with this change; `is_whole`: there was no more."""
        read_to = max(self.read_to, last.at) if last is not None else self.read_to
        if not is_whole:
            return replace(self, read_to=read_to, place=last)
        is_over = _is_over(self.overlapped_at, OVERLAP_EVERY, now)
        return replace(self, read_to=read_to, place=None, overlapped_at=now if is_over else self.overlapped_at)

    def written(self) -> str:
        parts = [_text(one) for one in (self.read_to, self.overlapped_at, self.looked_back_at)]
        if self.place is not None:
            parts += [_text(self.place.at), str(self.place.kind), str(self.place.id)]
        return "1;" + ";".join(parts)


def read_cursor(text: str | None) -> Cursor | None:
    """None for a text that is no cursor of ours."""
    if text is None:
        return Cursor()
    version, *parts = text.split(";")
    try:
        if version != "1" or len(parts) not in (3, 6):
            return None
        times = [_time(one) for one in parts[:4]]
        place = Place(times[3], int(parts[4]), int(parts[5])) if len(parts) == 6 else None
    except (ValueError, OverflowError):
        return None
    return Cursor(times[0], times[1], times[2], place)


def _is_over(since: datetime, every: timedelta, now: datetime) -> bool:
    """Also for a time of the future, which a wrong clock wrote."""
    return not timedelta() <= now - since < every


def _before(moment: datetime, overlap: timedelta) -> datetime:
    return max(moment - overlap, _BEGINNING) if moment > _BEGINNING + overlap else _BEGINNING


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)

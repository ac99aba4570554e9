"""The moment at which a clock on the wall first shows a time of day, also where summer time begins or ends.

A time that the clock skips is the moment at which it skips it; of one that it shows twice the first counts. So what is
done "at 02:30" is done once on every day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

# No change of a zone's offset skips more than a day's half hour and a bit; a date line that moved skips a whole day.
_LONGEST_SKIP = timedelta(hours=26)


def first_moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """When the wall clock in this zone first shows `at` or a later time on this day, or later; aware, UTC."""
    wanted = datetime.combine(day, at)
    moment = wanted.replace(tzinfo=zone).astimezone(UTC)
    if _wall(moment, zone) == wanted:
        return moment
    # Skipped: counted with the offset of before, it lies behind the change; the change itself is searched for.
    before, after = moment - _LONGEST_SKIP, moment
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        before, after = (middle, after) if _wall(middle, zone) < wanted else (before, middle)
    return after.replace(microsecond=0)


def newest_moment(now: datetime, at: time, zone: ZoneInfo) -> datetime:
    """The last moment until `now` at which it was this time of day there; aware, UTC."""
    today = now.astimezone(zone).date()
    moments = [first_moment(today - timedelta(days=back), at, zone) for back in range(3)]
    return max(moment for moment in moments if moment <= now)


def is_between(now: datetime, start: time, end: time, zone: ZoneInfo) -> bool:
    """Whether `start` was there since `end` last was: the night from 22:00 to 07:00, say. Never, where both are one."""
    return start != end and newest_moment(now, start, zone) > newest_moment(now, end, zone)


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)

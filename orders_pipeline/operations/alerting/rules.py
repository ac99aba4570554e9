"""The rules of who is told what, and when, as a value: per severity and kind, quiet hours, the daily digest.

They are what ORDERS_ALERTS_FILE may say (`rules_file` reads it, docs/alerts.schema.json describes it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from orders_pipeline.alerts.kinds import SEVERITIES, Severity
from orders_pipeline.operations.alerting.moments import is_between

ChannelName = Literal["slack", "email"]
CHANNELS: tuple[ChannelName, ...] = ("slack", "email")

_LENGTH = re.compile(r"([1-9][0-9]{0,4}) ?(min|h|d)")
_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
NEVER = "never"


def _length(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    found = _LENGTH.fullmatch(given.strip())
    if found is None:
        raise ValueError(f"{given!r} is no length of time: write 30min, 4h or 2d")
    return int(found[1]) * _UNITS[found[2]]


def _length_or_never(given: Any) -> Any:
    return None if given == NEVER else _length(given)


def _clock(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    found = _CLOCK.fullmatch(given.strip())
    if found is None:
        raise ValueError(f"{given!r} is no time of day: write 07:00")
    return time(int(found[1]), int(found[2]))


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no time zone: write one like Europe/Berlin, or UTC")
    return name


_TEXT = {"type": "string"}
Length = Annotated[timedelta, BeforeValidator(_length), WithJsonSchema({**_TEXT, "pattern": f"^{_LENGTH.pattern}$"})]
LengthOrNever = Annotated[
    timedelta | None,
    BeforeValidator(_length_or_never),
    WithJsonSchema({**_TEXT, "pattern": f"^({_LENGTH.pattern}|{NEVER})$"}),
]
TimeOfDay = Annotated[time, BeforeValidator(_clock), WithJsonSchema({**_TEXT, "pattern": f"^{_CLOCK.pattern}$"})]


class _Part(BaseModel):
    """What it does not know is an error: a misspelt rule would be no rule."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SeverityRule(_Part):
    """What becomes of alerts of one severity."""

    channels: tuple[ChannelName, ...] = Field(default=CHANNELS, description="Where they go; an empty list: nowhere.")
    remind_after: LengthOrNever = Field(
        default=timedelta(hours=4), description="A cause that is still open is told again after this time; or never."
    )
    more_after: Length = Field(
        default=timedelta(hours=1),
        description="More alerts of a cause that was told are told together, this long after it.",
    )


class KindRule(_Part):
    """What is other for one kind of alert. What is left out is as its severity has it."""

    severity: Severity | None = Field(default=None, description="Instead of the alert's own.")
    channels: tuple[ChannelName, ...] | None = Field(default=None, description="Where they go; an empty list: nowhere.")
    remind_after: LengthOrNever = Field(
        default=None, description="A cause that is still open is told again after this time; or never."
    )
    more_after: Length | None = Field(
        default=None, description="More alerts of a cause that was told are told together, this long after it."
    )


class QuietHours(_Part):
    """A part of each day in which only severe alerts go out; the others wait for its end."""

    start: TimeOfDay = Field(alias="from", description="In `time_zone`.")
    until: TimeOfDay = Field(description="In `time_zone`.")
    severities: tuple[Severity, ...] = Field(
        default=("error",), alias="except", description="What goes out at any time."
    )


class Digest(_Part):
    """One message a day: what is open, what opened and closed within a day, and the day's figures."""

    at: TimeOfDay = Field(description="In `time_zone`.")
    channels: tuple[ChannelName, ...] = Field(default=CHANNELS, description="Where it goes.")


class AlertRules(_Part):
    """Who is told of alerts, and when. Everything may be left out."""

    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="Of `quiet_hours` and `digest`, as Europe/Berlin."
    )
    severities: Mapping[Severity, SeverityRule] = Field(default={}, description="By severity.")
    kinds: Mapping[str, KindRule] = Field(default={}, description="By kind of alert: docs/runbook.md names them all.")
    quiet_hours: QuietHours | None = None
    digest: Digest | None = None

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def severity_of(self, kind: str, severity: Severity) -> Severity:
        """The alert's severity, or what the rules make of this kind."""
        return (self.kinds[kind].severity if kind in self.kinds else None) or severity

    def rule_of(self, kind: str, severity: Severity) -> Rule:
        """What holds for alerts of this kind that have this severity (`severity_of`)."""
        common = self.severities.get(severity) or DEFAULTS[severity]
        own = self.kinds.get(kind, KindRule())
        return Rule(
            channels=common.channels if own.channels is None else own.channels,
            remind_after=own.remind_after if "remind_after" in own.model_fields_set else common.remind_after,
            more_after=own.more_after or common.more_after,
        )

    def is_held_back(self, severity: Severity, now: datetime) -> bool:
        """Whether what has this severity waits for the end of the quiet hours. `now`: aware."""
        quiet = self.quiet_hours
        return (
            quiet is not None
            and severity not in quiet.severities
            and is_between(now, quiet.start, quiet.until, self.zone)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """For one cause: where it goes, when it is told again (None: never), and when more of it is told."""

    channels: Sequence[ChannelName]
    remind_after: timedelta | None
    more_after: timedelta


DEFAULTS: Mapping[Severity, SeverityRule] = {
    "error": SeverityRule(),
    "warning": SeverityRule(remind_after=timedelta(hours=24), more_after=timedelta(hours=4)),
    "info": SeverityRule(remind_after=None, more_after=timedelta(hours=24)),
}
assert set(DEFAULTS) == set(SEVERITIES)

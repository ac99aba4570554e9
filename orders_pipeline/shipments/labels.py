"""Which of a package's labels travels, from all that the warehouse reported of it, in the warehouse's own order.

A box may get several labels (tracking numbers), and the reports and voids of these come in any order: a new label
before the void of the old one, a void before the report of what it voids, an old report after a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orders_pipeline.database.engine import AnyRow


@dataclass(slots=True)
class Labels:
    """What is known after the newest event. `live`: reported and not voided, by number, last reported last.

    None stands for a label whose number was not told.
    """

    live: dict[str | None, AnyRow] = field(default_factory=dict[str | None, AnyRow])
    reported: set[str | None] = field(default_factory=set[str | None])
    # Voided before they were reported.
    voided_early: set[str | None] = field(default_factory=set[str | None])
    # The newest event reports a label that was voided before.
    dead_on_arrival: bool = False
    # The newest event is a void without a number, and more than one label may be meant.
    unclear: bool = False


def read_labels(events: Iterable[AnyRow]) -> Labels:
    """The labels of one package after these events."""
    labels = Labels()
    for event in events:
        labels.dead_on_arrival = labels.unclear = False
        if event.kind == "shipped":
            _report(labels, event)
        elif event.kind == "voided":
            _void(labels, event.tracking_number)
    return labels


def _report(labels: Labels, event: AnyRow) -> None:
    number = event.tracking_number
    labels.reported.add(number)
    if number in labels.voided_early or None in labels.voided_early:
        # Its void came before this report. A void without a number is of whatever label is reported next.
        labels.voided_early.discard(number if number in labels.voided_early else None)
        labels.dead_on_arrival = True
    elif number is not None:
        # What was reported without a number has this one.
        labels.live.pop(None, None)
        labels.live.pop(number, None)
        labels.live[number] = event
    elif not labels.live:
        labels.live[None] = event


def _void(labels: Labels, number: str | None) -> None:
    if number in labels.live:
        del labels.live[number]
    elif number is None and len(labels.live) > 1:
        labels.unclear = True
    elif number is None and labels.reported:
        labels.live.clear()
    elif number not in labels.reported:
        # Perhaps the number of what was reported without one.
        labels.live.pop(None, None)
        labels.voided_early.add(number)


def label_to_go_back_to(labels: Labels) -> AnyRow | None:
    """The label that travels after another was voided; None if none does, or it is not sure which was voided."""
    if labels.voided_early or not labels.live:
        return None
    return list(labels.live.values())[-1]

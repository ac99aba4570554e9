"""Telling Amazon of other facts under a reference id that it knows: an edit, and what proves that it was taken.

What Amazon showed before an edit, it shows after one that it refused or never got. So neither quantities shipped (all
that v0 shows) nor, where the number is the same, the package itself prove an edit: only Amazon's 204 does, or the new
tracking number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from orders_pipeline.model.states import PackageState
from orders_pipeline.shipments.quantities import same_lines
from orders_pipeline.shipments.rows import Package


class Edited(StrEnum):
    """What an edit changes under this reference id. The values are stored."""

    LABEL = "label"  # the tracking number, and perhaps more
    FACTS = "facts"  # not the tracking number: the carrier, the service or the items


def edit_of(
    sent: Package,
    *,
    tracking_number: str | None,
    carrier: str | None,
    service: str | None,
    lines: Sequence[Mapping[str, Any]],
) -> str | None:
    """Which kind of edit these facts are for the package as last sent; None if Amazon was never told of it."""
    if not sent.known_to_amazon:
        return None
    if tracking_number != sent.tracking_number:
        return Edited.LABEL.value
    if (carrier, service) == (sent.carrier, sent.service) and same_lines(lines, sent.lines):
        return sent.edited
    return Edited.FACTS.value


def is_accepted(package: Package) -> bool:
    """Whether Amazon answered the last call with 204."""
    return package.state == PackageState.ACCEPTED


def quantities_may_prove(package: Package) -> bool:
    """Whether a quantity shipped can be this package's, and not that of what it replaces."""
    return package.edited is None or is_accepted(package)


def number_may_prove(package: Package) -> bool:
    """Whether a package under this tracking number shows that Amazon has the facts as they are now."""
    return package.edited != Edited.FACTS or is_accepted(package)

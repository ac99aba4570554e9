"""What a compliance check found, without Dagster.

Belongs here: the shape. Elsewhere: the checks (checks, leak_scan), showing them (defs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["WARN", "ERROR"]


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """`severity` says how bad it is if it did not pass. `numbers` are numbers only: Dagster keeps them in clear.

    `description` says what was looked at, and what to do; `source` is the rule that it shows the keeping of.
    """

    name: str
    passed: bool
    severity: Severity
    description: str
    source: str
    numbers: Mapping[str, int | float | bool]

    def as_metadata(self) -> dict[str, int | float | bool]:
        return dict(self.numbers)


def could_not_look(name: str, error: Exception) -> CheckOutcome:
    """A check that could not be carried out: red, since not being allowed to look is no proof."""
    return CheckOutcome(
        name=name,
        passed=False,
        severity="ERROR",
        description=f"It could not be looked at ({type(error).__name__}). {told(error)}",
        source="a check that cannot look shows nothing",
        numbers={},
    )


def told(error: Exception) -> str:
    """An error of ours says what to do, and names nobody; another's text could hold anything."""
    return str(error) if type(error).__module__.startswith("orders_pipeline.") else "See orders-pipeline doctor."

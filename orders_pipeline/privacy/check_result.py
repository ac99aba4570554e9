"""What a compliance check found, without Dagster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Severity = Literal["WARN", "ERROR"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`severity` says how bad it is if it did not pass. `numbers` are numbers only: Dagster keeps them in clear.

    `description` says what was looked at and found; `what_to_do` is for when it did not pass; `source` is the rule that
    it shows the keeping of. `notes` are sentences of ours, which name places and never what is in them.
    """

    name: str
    passed: bool
    severity: Severity
    description: str
    what_to_do: str
    source: str
    numbers: Mapping[str, int | float | bool]
    notes: Mapping[str, str] = field(default_factory=dict[str, str])

    def text(self) -> str:
        """What a person reads: the finding, and what to do if it did not pass."""
        return self.description if self.passed else f"{self.description} {self.what_to_do}"

    def as_metadata(self) -> dict[str, int | float | bool]:
        return dict(self.numbers)


def could_not_run(name: str, error: Exception) -> CheckResult:
    """The result of a check that could not run. It fails: a check that cannot read proves nothing."""
    return CheckResult(
        name=name,
        passed=False,
        severity="ERROR",
        description=f"It could not be looked at ({type(error).__name__}).",
        # An error of ours says what to do, and names nobody; another's text could hold anything.
        what_to_do=str(error) if type(error).__module__.startswith("orders_pipeline.") else "Run the job doctor.",
        source="a check that cannot look shows nothing",
        numbers={},
    )


def merged(results: Mapping[str, CheckResult]) -> CheckResult:
    """One result of several accounts', by account id: it passes if all do. Numbers are summed."""
    everybody = list(results.items())
    red = [(account_id, result) for account_id, result in everybody if not result.passed]
    shown = red or everybody
    first = shown[0][1]
    if len(everybody) == 1:
        return first
    numbers: dict[str, int | float | bool] = {}
    for _, result in everybody:
        for name, value in result.numbers.items():
            numbers[name] = numbers.get(name, 0) + value
    return replace(
        first,
        description=" ".join(f"Account {account_id}: {result.description}" for account_id, result in shown),
        numbers=numbers,
        notes={f"{account_id}_{name}": note for account_id, result in shown for name, note in result.notes.items()},
    )

"""The report of a run: for people on a terminal, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orders_pipeline.model.untrusted_text import bounded_text
from orders_pipeline.wms.conformance.promise import Result
from orders_pipeline.wms.port import Capability

_STYLES = {"holds": "green", "fails": "bold red", "not tried": "yellow"}
LONGEST_REASON = 300


def as_json(adapter: str, capabilities: frozenset[Capability], results: Sequence[Result]) -> dict[str, object]:
    """Everything that the table shows, and how long each promise took (seconds)."""
    return {
        "adapter": adapter,
        "capabilities": sorted(str(one) for one in capabilities),
        "counts": counts(results),
        "promises": [
            {
                "name": one.promise.name,
                "sentence": one.promise.sentence,
                "source": one.promise.source,
                "verdict": one.verdict,
                "reason": _reason(one),
                "seconds": round(one.seconds, 3),
            }
            for one in results
        ],
    }


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many promises hold, fail and were not tried."""
    found = Counter(one.verdict for one in results)
    return {verdict: found.get(verdict, 0) for verdict in _STYLES}


def print_report(
    console: Console, adapter: str, capabilities: frozenset[Capability], results: Sequence[Result]
) -> None:
    """A row a promise, with what was seen where it does not hold, and where the promise comes from."""
    table = Table(title=f"Promises of the warehouse's port, kept by {escape(adapter)}", title_justify="left")
    table.add_column("promise", no_wrap=True)
    table.add_column("")
    table.add_column("what it says; what was seen", ratio=1)
    for one in results:
        style = _STYLES[one.verdict]
        told = escape(one.promise.sentence)
        if one.verdict != "holds":
            told += f"\n[{style}]{escape(_reason(one))}[/]\n[dim]{escape(one.promise.source)}[/]"
        table.add_row(one.promise.name, f"[{style}]{one.verdict}[/]", told)
    console.print(table)
    missing = [str(one) for one in Capability if one not in capabilities]
    console.print(f"Declared: {', '.join(str(one) for one in Capability if one in capabilities) or 'nothing'}."
                  + (f" Not declared: {', '.join(missing)}." if missing else ""))  # fmt: skip
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts(results).items()) + ".")


def _reason(result: Result) -> str:
    return bounded_text(result.reason, LONGEST_REASON) or ""

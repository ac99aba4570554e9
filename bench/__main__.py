"""Run every benchmark, one after the other: they share two cores."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from bench.table import RESULTS, report
from bench.workload import WORKLOADS

BENCHES = (
    "limits",
    "vault",
    "compliance",
    "drain",
    "peak",
    "calls",
    "latency",
    "webhooks",
    "sustained",
    "backfill",
    "growth",
    "board",
    "accounts",
    "tryton",
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(BENCHES))
@click.option(
    "--workload", type=click.Choice(list(WORKLOADS)), default="full", show_default=True,
    help="small: a few seconds each, to see that everything runs; its figures mean nothing.",
)  # fmt: skip
@click.option(
    "--results", type=click.Path(dir_okay=False, path_type=Path), default=RESULTS, help="One JSON object a row."
)
def main(names: tuple[str, ...], workload: str, results: Path) -> None:
    """Print the benchmark table: of the benchmarks named, or of all."""
    for name in names or BENCHES:
        module = import_module(f"bench.{name}")
        report(module.TITLE, module.run(WORKLOADS[workload]), results)


if __name__ == "__main__":
    main()

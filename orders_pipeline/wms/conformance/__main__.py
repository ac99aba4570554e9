"""`python -m orders_pipeline.wms.conformance ADAPTER`: which promises an adapter and its warehouse keep.

It pushes, ships and cancels made-up orders: never point it at a warehouse that ships to people.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from orders_pipeline.settings import SettingsError, WarehouseSettings, load_settings
from orders_pipeline.wms.conformance.ends import NotPossible
from orders_pipeline.wms.conformance.promise import Result
from orders_pipeline.wms.conformance.report import as_json, counts, print_report
from orders_pipeline.wms.conformance.sandbox_warehouse import SandboxWorker, running_sandbox
from orders_pipeline.wms.conformance.suite import PROMISES, try_adapter
from orders_pipeline.wms.conformance.worker import Tried, Worker
from orders_pipeline.wms.connect import open_warehouse

FAILS, CANNOT_BE_TRIED = 1, 2
# In the repository, not in the package: Tryton runs as a program of its own.
TRYTON = "warehouses.tryton.conformance:tryton_to_try"


@click.command()
@click.argument("adapter")
@click.option("--warehouse", help="package.module:name of a context manager that starts a warehouse (see the guide).")
@click.option("--worker", help="package.module:name that makes a Worker for the warehouse of WMS_BASE_URL.")
@click.option("--only", multiple=True, metavar="PROMISE", help="Try this promise alone; may be given several times.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report there too."
)
@click.option("--list", "only_list", is_flag=True, help="Show the promises and try nothing.")
def main(
    adapter: str,
    warehouse: str | None,
    worker: str | None,
    only: Sequence[str],
    json_file: Path | None,
    only_list: bool,
) -> None:
    """Try ADAPTER: rest, tryton, or package.module:name of your own (docs/warehouse-adapters.md).

    The warehouse is that of WMS_BASE_URL and WMS_TOKEN, or one that is started for this. Exit code: 0 where no promise
    fails, 1 where one does, 2 where nothing could be tried.
    """
    console = Console()
    if only_list:
        for promise in PROMISES:
            console.print(f"{promise.name}: {promise.sentence} ({promise.source})", markup=False, soft_wrap=True)
        return
    if unknown := sorted(set(only) - {promise.name for promise in PROMISES}):
        _stop(f"no such promise: {', '.join(unknown)}; --list shows them")
    try:
        with _tried(adapter, warehouse, worker) as tried:
            opened = open_warehouse(tried.settings)
            capabilities = opened.capabilities
            opened.close()
            results: list[Result] = []
            with console.status("") as status:
                for result in try_adapter(open_warehouse, tried.settings, lambda: tried.worker, only=only):
                    results.append(result)
                    status.update(f"{len(results)} promises tried; the last was {result.promise.name}")
    except (SettingsError, NotPossible) as error:
        _stop(str(error))
    print_report(console, adapter, capabilities, results)
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(adapter, capabilities, results), indent=2) + "\n", encoding="utf-8")
    if counts(results)["fails"]:
        sys.exit(FAILS)


@contextmanager
def _tried(adapter: str, warehouse: str | None, worker: str | None) -> Generator[Tried]:
    if warehouse is not None:
        with _named(warehouse)() as started:
            yield started
        return
    given = load_settings().warehouse
    if given is not None:
        settings = given.model_copy(update={"adapter": adapter})
        yield Tried(settings, Worker() if worker is None else _named(worker)(settings))
        return
    if adapter == "tryton":
        with _named(TRYTON)() as started:
            yield started
        return
    if adapter != "rest":
        _stop("set WMS_BASE_URL and WMS_TOKEN, or give --warehouse")
    with running_sandbox() as environment:
        worker_there = SandboxWorker(environment["SANDBOX_URL"])
        secret = {"WMS_WEBHOOK_SECRET": worker_there.webhook_secret()}
        yield Tried(settings_of({**environment, **secret}), worker_there)


def settings_of(environment: dict[str, str]) -> WarehouseSettings:
    """The warehouse's settings of this environment. Raises SettingsError."""
    problems: list[str] = []
    settings = WarehouseSettings.read(environment, problems)
    if settings is None:
        raise SettingsError(tuple(problems))
    return settings


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        _stop(f"{name} cannot be opened: {error}")


def _stop(why: str) -> NoReturn:
    click.echo(f"Error: {why}", err=True)
    sys.exit(CANNOT_BE_TRIED)


if __name__ == "__main__":
    main()

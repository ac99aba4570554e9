"""The command `orders-pipeline`: one-off work, typed by a person.

Belongs here: reading arguments and printing. Elsewhere: the work (operations, vault); most of it is a Dagster job too.
"""

from __future__ import annotations

import sys

import click
from rich.console import Console
from sqlalchemy.exc import OperationalError

from orders_pipeline.operations.serve import InstanceFileMissing, serve
from orders_pipeline.settings import SettingsError, load_settings
from orders_pipeline.store.embedded import EmbeddedPostgresError
from orders_pipeline.store.migrate import DatabaseNewerThanCode

_console = Console(stderr=True, highlight=False, soft_wrap=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orders-pipeline")
def main() -> None:
    """Keeps a merchant's own fulfillment in step with Amazon. Settings come from the environment and .env."""


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the Dagster UI (default: PORT, or 3000).")
def up(port: int | None) -> None:
    """Start what is missing and run Dagster in the foreground, until SIGTERM or Ctrl-C."""
    settings = load_settings()
    try:
        settings.require_complete()
        code = serve(settings, port=port, tell=_console.print)
    except (SettingsError, EmbeddedPostgresError, DatabaseNewerThanCode, InstanceFileMissing) as error:
        _refuse(str(error))
    except OperationalError as error:
        # The driver's first line names host and cause, and no password; the rest is SQLAlchemy's.
        _refuse(f"PostgreSQL cannot be used: {str(error.orig).strip().splitlines()[0]} (see ORDERS_DATABASE_URL)")
    else:
        sys.exit(code)


def _refuse(message: str) -> None:
    _console.print(f"[bold red]error:[/] {message}", markup=True)
    sys.exit(2)


if __name__ == "__main__":
    main()

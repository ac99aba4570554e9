"""Commands that run the pipeline, and look whether it can."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orders_pipeline.channels.amazon.api.notifications import SubscriptionReport
from orders_pipeline.cli.terminal import out, refuse, say, warn, with_plain_errors
from orders_pipeline.database.migrate import Phase
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.operations.doctor import examine
from orders_pipeline.operations.processes import WebOptions
from orders_pipeline.operations.serve import choose_port, prepare_store, serve
from orders_pipeline.operations.subscribe import problems_of, subscribe_types
from orders_pipeline.settings import load_settings
from orders_pipeline.web.access import Listening, open_access
from orders_pipeline.web.users import user_line
from orders_pipeline.web.visitor import Role


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the Dagster UI (default: PORT, or 3000).")
@click.option("--host", help="Address that the UI listens on (default: ORDERS_WEB_LISTEN, or 127.0.0.1).")
@click.option("--read-only", is_flag=True, help="The UI shows everything, and nobody changes anything there.")
@with_plain_errors
def up(port: int | None, host: str | None, read_only: bool) -> None:
    """Start what is missing and run Dagster in the foreground, until SIGTERM or Ctrl-C."""
    settings = load_settings()
    settings.require_servable()
    web = WebOptions(host or settings.web.listen, choose_port(port), read_only)
    # Before anything is started: a port that would let anybody in is refused with a sentence.
    open_access(settings.web, Listening(web.address, web.port), settings.data_dir)
    sys.exit(serve(settings, web, notify=warn))


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port of the UI.")
@click.option("--host", help="Address that the UI listens on (default: ORDERS_WEB_LISTEN, or 127.0.0.1).")
@click.option("-w", "--workspace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--read-only", is_flag=True, help="The UI shows everything, and nobody changes anything there.")
@with_plain_errors
def web(port: int, host: str | None, workspace: Path | None, read_only: bool) -> None:
    """Serve the guarded Dagster UI alone, where daemon and code server are processes of their own."""
    from orders_pipeline.web.process import serve_web  # Dagster: only who serves it waits for it

    serve_web(host=host, port=port, workspace=workspace, read_only=read_only)


@click.command("web-user")
@click.argument("name")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), default=Role.OPERATOR.value, show_default=True
)
@click.password_option(help="Asked for, if it is not given; a shell's history keeps what is.")
@with_plain_errors
def web_user(name: str, role: str, password: str) -> None:
    """Make a person's line for ORDERS_WEB_USERS_FILE: it holds a hash of the password, never the password."""
    click.echo(user_line(name, Role(role), password))


@click.command()
@click.option(
    "--only",
    type=click.Choice([Phase.BEFORE.value, Phase.AFTER.value]),
    help="One half: before the new release starts, or after the old one has stopped (default: both).",
)
@with_plain_errors
def migrate(only: str | None) -> None:
    """Create both databases if they are missing and bring the schema up to date (`up` does this too)."""
    started = prepare_store(load_settings(), Phase(only) if only else None)
    if started is not None:
        started.stop()
    if only == Phase.BEFORE:
        say("This release can start. Once the earlier one has stopped: orders-pipeline migrate --only after")
    else:
        say("The schema is up to date.")


@click.command()
@with_plain_errors
def doctor() -> None:
    """Check settings, database, keys, warehouse, queue and Amazon: each line ok, or what to do."""
    results = examine(Deployment(load_settings()))
    for result in results:
        mark = "[green]ok  [/]" if result.ok else "[bold red]todo[/]"
        out.print(mark, end=" ", markup=True)
        say(f"{result.subject}: {result.detail}")
        if not result.ok:
            say(f"     → {result.what_to_do}")
    sys.exit(0 if all(result.ok for result in results) else 1)


@click.command()
@click.option("--replace", is_flag=True, help="Take a subscription away from another queue.")
@with_plain_errors
def subscribe(replace: bool) -> None:
    """Have Amazon deliver ORDER_CHANGE (in Brazil, FBA Onsite's shipments too); running it again changes nothing."""
    for account in Deployment(load_settings()).accounts():
        reports = subscribe_types(account, replace=replace)
        for name, report in reports.items():
            if isinstance(report, SubscriptionReport):
                queue_arn = report.destination.queue_arn
                say(f"Destination {'created' if report.destination_created else 'was there'}: {queue_arn}")
                say(f"Subscription to {name} {'created' if report.subscription_created else 'was there'}.")
        for problem in problems_of(reports):
            refuse(problem)

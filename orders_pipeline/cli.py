"""The command `orders-pipeline`: one-off work, typed by a person."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from sqlalchemy.exc import DBAPIError

from orders_pipeline.audit.errors import AuditRefused
from orders_pipeline.audit.log import AuditVerification
from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.database.migrate import DatabaseNewerThanCode, MigrationBlocked, MigrationOutOfOrder, Phase
from orders_pipeline.intake.queue import QueueUnavailable
from orders_pipeline.model.untrusted_text import escaped
from orders_pipeline.operations.adopt import OrdersNotAdopted, adopt_orders, orders_to_adopt
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.operations.doctor import examine
from orders_pipeline.operations.processes import WebOptions
from orders_pipeline.operations.replay import recover_order, replay_parked
from orders_pipeline.operations.serve import InstanceFileMissing, choose_port, prepare_store, serve
from orders_pipeline.privacy.audit_export.copies import anchor_problem, newest_witness
from orders_pipeline.privacy.audit_export.export import AuditExportRefused, export_day, verify_export
from orders_pipeline.privacy.audit_export.targets import ExportUnavailable, open_export_target
from orders_pipeline.privacy.erasure.erasure import erase as run_erasure
from orders_pipeline.secret_files import DataFolderRefused
from orders_pipeline.settings import SettingsError, load_settings
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.vault.rotation import replace_lost_keyring, rotate_keys
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS, shipping_details_from_bytes
from orders_pipeline.web.access import Listening, open_access
from orders_pipeline.web.sessions import SessionKeyError
from orders_pipeline.web.users import NameNotUsable, PasswordTooWeak, UsersFileError, user_line
from orders_pipeline.web.visitor import Role

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Texts may hold words of others: they are no markup, and stand for no pictures.
_errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
_out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

# Errors that a person can correct print one sentence. Any other error is a defect and prints its traceback.
EXPECTED = (
    SettingsError,
    EmbeddedPostgresError,
    DataFolderRefused,
    DatabaseNewerThanCode,
    MigrationBlocked,
    MigrationOutOfOrder,
    InstanceFileMissing,
    AmazonError,
    AuditRefused,
    VaultError,
    AuditExportRefused,
    ExportUnavailable,
    OrdersNotAdopted,
    QueueUnavailable,
    UsersFileError,
    SessionKeyError,
    PasswordTooWeak,
    NameNotUsable,
)


def _with_plain_errors(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    @functools.wraps(command)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return command(*arguments, **options)
        except EXPECTED as error:
            _refuse(str(error))
        except DBAPIError as error:
            # The driver's first line names host and cause, and no password; the rest is SQLAlchemy's.
            advice = " ".join(getattr(error, "__notes__", ())) or "See ORDERS_DATABASE_URL."
            _refuse(f"PostgreSQL cannot be used: {str(error.orig).strip().splitlines()[0]}. {advice}")
        except (BotoCoreError, ClientError) as error:
            _refuse(f"AWS refuses or does not answer ({type(error).__name__}): run `orders-pipeline doctor`")
        raise AssertionError("unreachable")

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orders-pipeline")
def main() -> None:
    """Keeps a merchant's own fulfillment in step with Amazon. Settings come from the environment and .env."""


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the Dagster UI (default: PORT, or 3000).")
@click.option("--host", help="Address that the UI listens on (default: ORDERS_WEB_LISTEN, or 127.0.0.1).")
@click.option("--read-only", is_flag=True, help="The UI shows everything, and nobody changes anything there.")
@_with_plain_errors
def up(port: int | None, host: str | None, read_only: bool) -> None:
    """Start what is missing and run Dagster in the foreground, until SIGTERM or Ctrl-C."""
    settings = load_settings()
    settings.require_complete()
    web = WebOptions(host or settings.web.listen, choose_port(port), read_only)
    # Before anything is started: a port that would let anybody in is refused with a sentence.
    open_access(settings.web, Listening(web.address, web.port), settings.data_dir)
    sys.exit(serve(settings, web, notify=_warn))


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port of the UI.")
@click.option("--host", help="Address that the UI listens on (default: ORDERS_WEB_LISTEN, or 127.0.0.1).")
@click.option("-w", "--workspace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--read-only", is_flag=True, help="The UI shows everything, and nobody changes anything there.")
@_with_plain_errors
def web(port: int, host: str | None, workspace: Path | None, read_only: bool) -> None:
    """Serve the guarded Dagster UI alone, where daemon and code server are processes of their own."""
    from orders_pipeline.web.process import serve_web  # Dagster: only who serves it waits for it

    serve_web(host=host, port=port, workspace=workspace, read_only=read_only)


@main.command("web-user")
@click.argument("name")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), default=Role.OPERATOR.value, show_default=True
)
@click.password_option(help="Asked for, if it is not given; a shell's history keeps what is.")
@_with_plain_errors
def web_user(name: str, role: str, password: str) -> None:
    """Make a person's line for ORDERS_WEB_USERS_FILE: it holds a hash of the password, never the password."""
    click.echo(user_line(name, Role(role), password))


@main.command()
@click.option(
    "--only",
    type=click.Choice([Phase.BEFORE.value, Phase.AFTER.value]),
    help="One half: before the new release starts, or after the old one has stopped (default: both).",
)
@_with_plain_errors
def migrate(only: str | None) -> None:
    """Create both databases if they are missing and bring the schema up to date (`up` does this too)."""
    started = prepare_store(load_settings(), Phase(only) if only else None)
    if started is not None:
        started.stop()
    if only == Phase.BEFORE:
        _say("This release can start. Once the earlier one has stopped: orders-pipeline migrate --only after")
    else:
        _say("The schema is up to date.")


@main.command()
@_with_plain_errors
def doctor() -> None:
    """Check settings, database, keys, warehouse, queue and Amazon: each line ok, or what to do."""
    results = examine(Deployment(load_settings()))
    for result in results:
        mark = "[green]ok  [/]" if result.ok else "[bold red]todo[/]"
        _out.print(mark, end=" ", markup=True)
        _say(f"{result.subject}: {result.detail}")
        if not result.ok:
            _say(f"     → {result.what_to_do}")
    sys.exit(0 if all(result.ok for result in results) else 1)


@main.command()
@click.option("--replace", is_flag=True, help="Take a subscription away from another queue.")
@_with_plain_errors
def subscribe(replace: bool) -> None:
    """Have Amazon deliver ORDER_CHANGE to the queue; running it again changes nothing."""
    deployment = Deployment(load_settings())
    queue_arn = deployment.queue.attributes()["QueueArn"]
    report = deployment.amazon.notifications.subscribe(queue_arn, replace=replace)
    _say(f"Destination {'created' if report.destination_created else 'was there'}: {queue_arn}")
    _say(f"Subscription {'created' if report.subscription_created else 'was there'}.")
    if report.problem:
        _refuse(report.problem)


@main.command()
@click.argument("order_ids", nargs=-1)
@click.option("--reason", help="Only orders that were set aside for a reason that holds this text.")
@_with_plain_errors
def replay(order_ids: tuple[str, ...], reason: str | None) -> None:
    """Give parked orders another chance: those named, or all."""
    deployment = Deployment(load_settings())
    totals = replay_parked(
        deployment.database, deployment.audit, account_id=deployment.account_id, order_ids=order_ids, reason=reason
    )
    _say(f"{totals.orders} orders and {totals.packages} packages are due again.")


@main.command()
@click.argument("order_id")
@_with_plain_errors
def recover(order_id: str) -> None:
    """Fetch any order by its id, known or not, and bring it into line."""
    deployment = Deployment(load_settings())
    recover_order(deployment.database, deployment.audit, account_id=deployment.account_id, order_id=order_id)
    _say(f"Order {order_id} is looked at by the next run.")


@main.command()
@click.argument("order_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every order that waits to be adopted.")
@_with_plain_errors
def adopt(order_ids: tuple[str, ...], everything: bool) -> None:
    """Ship orders that were purchased before the start: those named, or all that wait. Without either, list them.

    First make sure that no other process ships them.
    """
    deployment = Deployment(load_settings())
    if not order_ids and not everything:
        waiting = orders_to_adopt(deployment.database, account_id=deployment.account_id)
        for row in waiting:
            ship_by = f", ship by {row.ship_by:%Y-%m-%d %H:%MZ}" if row.ship_by else ""
            _say(f"{row.order_id}: {row.status}, purchased {row.purchased_at:%Y-%m-%d %H:%MZ}{ship_by}")
        _say(f"{len(waiting)} orders from before the start wait to be adopted.")
        return
    totals = adopt_orders(
        deployment.database,
        deployment.audit,
        account_id=deployment.account_id,
        order_ids=order_ids,
        everything=everything,
    )
    _say(f"{totals.adopted} orders are ours from now on; {totals.already} were already.")


@main.command()
@click.argument("order_id")
@click.option("--reason", required=True, help="Why you read it: kept in the audit log with your name.")
@_with_plain_errors
def reveal(order_id: str, reason: str) -> None:
    """Show where one order goes, after writing who read it and why into the audit log."""
    deployment = Deployment(load_settings())
    content = deployment.vault.reveal(
        account_id=deployment.account_id, kind=SHIPPING_DETAILS, subject_id=order_id, purpose=reason
    )
    details = shipping_details_from_bytes(content)
    # Straight to the terminal, past every log; with nothing in it that a terminal would obey.
    for name, value in details.plain():
        click.echo(f"{name}: {escaped(value)}")


@main.command()
@click.argument("order_id", required=False)
@click.option("--seller", is_flag=True, help="Every buyer of the whole seller, instead of one order's.")
@click.option("--everything", is_flag=True, help="With --seller: what identifies nobody as well (the seller has left).")
@click.option("--reason", required=True, help="Whose request it is: kept in the audit log.")
@_with_plain_errors
def erase(order_id: str | None, seller: bool, everything: bool, reason: str) -> None:
    """Forget who bought: here, at the warehouse, and in every backup's reach."""
    if bool(order_id) == seller:
        _refuse("name one order, or --seller")
    deployment = Deployment(load_settings())
    totals = run_erasure(
        deployment.database,
        deployment.vault,
        deployment.warehouse if deployment.settings.warehouse else None,
        account_id=deployment.account_id,
        order_id=order_id,
        reason=reason,
        everything=everything,
    )
    for name, value in totals.as_metadata().items():
        _say(f"{name}: {value}")
    if not totals.complete:
        _refuse("not all of it is done yet: the daily retention goes on; look at the check erased_within_the_day")


@main.group()
def keys() -> None:
    """The keys that the buyers' data is encrypted under."""


@keys.command("rotate")
@_with_plain_errors
def keys_rotate() -> None:
    """Make a new key-encryption key, put everything under it, destroy the older ones; the pipeline may run on."""
    deployment = Deployment(load_settings())
    rotation = rotate_keys(
        deployment.database, deployment.vault.keys, deployment.audit, purpose="keys rotate", notify=_warn
    )
    _say(f"Current key {rotation.key_id}; {rotation.rewrapped} data keys re-wrapped.")
    if not rotation.complete:
        _refuse("some older keys are still in use: run it again")


@keys.command("replace-lost")
@click.confirmation_option(prompt="What the lost keyring wrapped can never be opened again. Is it lost for good?")
@_with_plain_errors
def keys_replace_lost() -> None:
    """Make a new keyring where the old one is lost for good; what is needed is asked of Amazon anew."""
    deployment = Deployment(load_settings())
    key_id = replace_lost_keyring(deployment.database, deployment.vault)
    _say(f"Current key {key_id}. Addresses that are still needed are fetched again before their push.")


@keys.command("list")
@_with_plain_errors
def keys_list() -> None:
    """Show the key ids, the current one first, and how many records each still opens."""
    deployment = Deployment(load_settings())
    with deployment.database.begin() as connection:
        uses = deployment.vault.key_uses(connection)
    for key_id in deployment.vault.keys.key_ids():
        use = uses.get(key_id)
        _say(f"{key_id}: {use.records if use else 0} records")


@main.group()
def audit() -> None:
    """The log of who read and did what."""


@audit.command("verify")
@click.option(
    "--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="An exported day, by itself."
)
@_with_plain_errors
def audit_verify(path: Path | None) -> None:
    """Recompute the hash chain from its beginning; exit code 1 if it does not hold.

    The log is also held against the newest exported head, and its beginning against the export of its day. With --file
    no database and no settings are needed.
    """
    outside, problem = "", None
    if path is not None:
        found = verify_export(path.read_bytes())
    else:
        deployment = Deployment(load_settings())
        target = open_export_target(deployment.settings, s3_client)
        witness = newest_witness(target, deployment.database.now().date())
        found = deployment.audit.verify(witnesses=[witness.end] if witness else [])
        problem = anchor_problem(deployment.database, target)
        if witness is not None and deployment.audit.disagreeing([witness.end]):
            problem = f"it disagrees with {witness.where}: entry {witness.end.entry_id} is gone, or another."
        outside = "entries are as they were exported." if witness else "nothing was exported yet."
    if found.ok:
        _say(f"The chain holds: {found.entries} entries" + (f", head {_head(found)}." if found.head else "."))
        if path is None:
            _say(f"Held against the exports: {problem or outside}")
        if problem is not None:
            sys.exit(1)
        return
    place = "a line of the file" if found.first_bad is None else f"entry {found.first_bad}"
    _say(f"The chain breaks at {place}: {found.why}.")
    sys.exit(1)


@audit.command("export")
@click.argument("day", type=click.DateTime(["%Y-%m-%d"]))
@click.option("--keep", is_flag=True, help="Write it to where ORDERS_AUDIT_EXPORT says, as the nightly job does.")
@_with_plain_errors
def audit_export(day: datetime, keep: bool) -> None:
    """Write one UTC day's entries to standard output, a JSON object a line. No line holds a buyer's data."""
    deployment = Deployment(load_settings())
    if not keep:
        for line in deployment.audit.export(day.date()):
            click.echo(line)
        return
    target = open_export_target(deployment.settings, s3_client)
    manifest = export_day(deployment.database, deployment.audit, target, day.date())
    _say(f"{manifest.entries} entries of {manifest.day} are in {target.where}, head entry {manifest.head_entry}.")


def s3_client() -> Any:
    """As Dagster's resource opens it."""
    from orders_pipeline.defs.resources import s3_client as open_client  # Dagster: only who exports to S3 waits for it

    return open_client()


def _head(found: AuditVerification) -> str:
    return f"{found.head.entry_id}:{found.head.entry_hash.hex()[:16]}…" if found.head else "none"


def _refuse(message: str) -> None:
    _errors.print("[bold red]error:[/]", end=" ", markup=True)
    _warn(message)
    sys.exit(2)


def _say(text: str) -> None:
    _out.print(_shown(text))


def _warn(text: str) -> None:
    _errors.print(_shown(text))


def _shown(text: str) -> str:
    """Text with nothing in it that a terminal would obey; lines stay lines."""
    return "\n".join(escaped(line) for line in text.split("\n"))


if __name__ == "__main__":
    main()

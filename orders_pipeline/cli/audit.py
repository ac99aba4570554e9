"""Commands about the audit log."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from orders_pipeline.audit.log import AuditVerification
from orders_pipeline.cli.terminal import say, with_plain_errors
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.privacy.audit_export.copies import anchor_problem, newest_witness
from orders_pipeline.privacy.audit_export.export import export_day, verify_export
from orders_pipeline.privacy.audit_export.restored import restore_log
from orders_pipeline.privacy.audit_export.targets import open_export_target
from orders_pipeline.settings import load_settings


@click.group()
def audit() -> None:
    """The log of who read and did what."""


@audit.command("verify")
@click.option(
    "--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="An exported day, by itself."
)
@with_plain_errors
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
        say(f"The chain holds: {found.entries} entries" + (f", head {_head(found)}." if found.head else "."))
        if path is None:
            say(f"Held against the exports: {problem or outside}")
        if problem is not None:
            sys.exit(1)
        return
    place = "a line of the file" if found.first_bad is None else f"entry {found.first_bad}"
    say(f"The chain breaks at {place}: {found.why}.")
    sys.exit(1)


@audit.command("export")
@click.argument("day", type=click.DateTime(["%Y-%m-%d"]))
@click.option("--keep", is_flag=True, help="Write it to where ORDERS_AUDIT_EXPORT says, as the nightly job does.")
@with_plain_errors
def audit_export(day: datetime, keep: bool) -> None:
    """Write one UTC day's entries to standard output, a JSON object a line. No line holds a buyer's data."""
    deployment = Deployment(load_settings())
    if not keep:
        for line in deployment.audit.export(day.date()):
            click.echo(line)
        return
    target = open_export_target(deployment.settings, s3_client)
    manifest = export_day(deployment.database, deployment.audit, target, day.date())
    say(f"{manifest.entries} entries of {manifest.day} are in {target.where}, head entry {manifest.head_entry}.")


@audit.command("restore")
@with_plain_errors
def audit_restore() -> None:
    """After a restore from a backup, before anything else runs: take back from the copies what the log lacks.

    Requests to erase that were made since the backup are among it, and are asked for again.
    """
    deployment = Deployment(load_settings())
    target = open_export_target(deployment.settings, s3_client)
    restored = restore_log(deployment.database, deployment.audit, target)
    if restored.through is None:
        say(f"The log lacks nothing of what is in {target.where}.")
        return
    say(
        f"{restored.entries} entries came back from {target.where}: the log is whole until the end of "
        f"{restored.through}."
    )
    for lost in restored.erasures:
        whose = f"order {lost.order_id}" if lost.order_id else f"every buyer of {lost.account_id}"
        say(f"To forget again, as asked for at {lost.requested_at:%Y-%m-%d %H:%MZ}: {whose}.")
    say("Run the job `shred_expired_pii` once the pipeline is up: it forgets what was forgotten since the backup.")


def s3_client() -> Any:
    """As Dagster's resource opens it."""
    from orders_pipeline.defs.resources import s3_client as open_client  # Dagster: only who exports to S3 waits for it

    return open_client()


def _head(found: AuditVerification) -> str:
    return f"{found.head.entry_id}:{found.head.entry_hash.hex()[:16]}…" if found.head else "none"

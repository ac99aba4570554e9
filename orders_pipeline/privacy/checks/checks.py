"""What an auditor may see for himself, daily and on demand: each check with its numbers and the rule that it shows.

Every check is a pass in pages: its memory does not grow with the number of orders. Numbers hold no id and no value.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from orders_pipeline.audit.log import AuditLog
from orders_pipeline.audit.structure import audit_structure
from orders_pipeline.database.clocks import now_for_retention
from orders_pipeline.database.engine import AccountTransaction, Database
from orders_pipeline.http.hosts import has_one_reading, is_loopback
from orders_pipeline.in_transit import is_encrypted
from orders_pipeline.orders.erasures import overdue_erasures
from orders_pipeline.privacy import rules
from orders_pipeline.privacy.access.client_secret import secret_life, take_expiry_notices
from orders_pipeline.privacy.access.database_rights import powers_found
from orders_pipeline.privacy.access.roles import differences
from orders_pipeline.privacy.audit_export.copies import DAYS_NEVER_PURGED, Witness
from orders_pipeline.privacy.check_result import CheckResult
from orders_pipeline.privacy.checks.rows import (
    EvidencePage,
    audit_keeping,
    connection_is_protected,
    sent_without_reveal,
    stored_without_call,
    times_of_mending,
)
from orders_pipeline.privacy.erasure.rows import warehouse_erasures_waiting
from orders_pipeline.privacy.retention.retained import every_retained, sellers_with_data
from orders_pipeline.privacy.retention.rows import count_other_records_due
from orders_pipeline.privacy.rules import Rule
from orders_pipeline.settings import DatabaseRight, Settings
from orders_pipeline.vault.access import Vault
from orders_pipeline.vault.rotation import pending_shreds
from orders_pipeline.vault.rows import RecordId
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS
from orders_pipeline.work.progress import Notify, Progress, silent

# A nightly run, and two hours for it to be late.
ONE_RUN = timedelta(hours=26)
AUDIT_AT_MOST = timedelta(days=731 + 31)
VERIFY_PAGE = 2_000
EVIDENCE_PAGE = 10_000
# Of what is wrong, so many are named: a person needs the first ones.
SHOWN = 5
SECRET_WARN_DAYS = 30
SECRET_ERROR_DAYS = 7


def nothing_past_its_time(database: Database, *, account_id: str) -> CheckResult:
    """No buyer's data is kept, here or at the warehouse, past its time; red at once past the hard limit.

    Of every seller whose data are in this database, also of one that it no longer serves.
    """
    now = now_for_retention(database)
    late: Counter[Rule] = Counter()
    retained = past_limit = at_warehouse = waiting = waiting_long = 0
    for seller in sellers_with_data(database, account_id):
        for order in every_retained(database, seller):
            retained += order.in_vault
            at_warehouse += order.at_warehouse
            is_late = order.in_vault and order.due.due_at < now - ONE_RUN
            is_late |= order.at_warehouse and order.due.warehouse_due_at < now - ONE_RUN
            late[order.due.rule] += is_late
            # What was fetched after its limit has a run's time to go: it was asked for by an event, not kept.
            past_limit += max(order.due.limit, order.retained_since + ONE_RUN) < now
        with database.transaction(seller) as tx:
            late[Rule.PARKED_MESSAGE] += count_other_records_due(tx, order_kind=SHIPPING_DETAILS, at=now - ONE_RUN)
            owed, owed_long = warehouse_erasures_waiting(tx, older_than=ONE_RUN)
        waiting, waiting_long = waiting + owed, waiting_long + owed_long
    overdue = sum(late.values())
    return CheckResult(
        name="nothing_past_its_time",
        passed=not overdue and not past_limit and not waiting_long,
        severity="ERROR",
        description=f"{retained} orders' details are kept here, {at_warehouse} at the warehouse: {past_limit} past 30 "
        f"days after delivery, {overdue} past their own time, {waiting_long} that the warehouse owes for more "
        "than a day.",
        what_to_do="Run the job shred_expired_pii; if the warehouse does not answer, have it erased there by hand.",
        source=rules.RETENTION,
        numbers={
            "retained_in_vault": retained,
            "retained_at_warehouse": at_warehouse,
            "past_hard_limit": past_limit,
            "late": overdue,
            "warehouse_waiting": waiting,
            "warehouse_waiting_over_a_day": waiting_long,
            **{f"late_{rule}": count for rule, count in sorted(late.items()) if count},
        },
    )


def erased_within_the_day(database: Database, *, account_id: str) -> CheckResult:
    """Every requested erasure is carried out within a day, and no shred is pending.

    Of every seller in this database, also of one that it no longer serves.
    """
    still_open = overdue = 0
    for seller in sellers_with_data(database, account_id):
        with database.transaction(seller) as tx:
            asked, late = overdue_erasures(tx, older_than=timedelta(hours=24))
        still_open, overdue = still_open + asked, overdue + late
    pending = pending_shreds(database)
    waits = pending.since is not None and pending.since < now_for_retention(database) - ONE_RUN
    return CheckResult(
        name="erased_within_the_day",
        passed=not overdue and not waits,
        severity="ERROR",
        description=f"{still_open} requests to erase are open, {overdue} for more than a day; {pending.records} "
        "shredded records could still be brought back by an old backup together with the present keys.",
        what_to_do="Run the job shred_expired_pii; the alert shreds.pending says why a key was not destroyed.",
        source=rules.DELETION,
        numbers={"open": still_open, "overdue": overdue, "shreds_pending": pending.records},
    )


def every_record_opens(vault: Vault, *, notify: Notify = silent) -> CheckResult:
    """Every record of the vault authenticates, and its key is wrapped by the key-encryption key in use."""
    checked = older = older_format = 0
    refused: list[RecordId] = []
    progress = Progress("records opened", vault.count(), notify)
    after = None
    while True:
        page = vault.verify_batch(after, VERIFY_PAGE)
        checked, older = checked + page.checked, older + page.under_older_key
        older_format += page.older_format
        refused += page.refused
        progress.advance(page.checked)
        after = page.last
        if after is None:
            break
    vault.forget_refusals(but=refused)
    return CheckResult(
        name="every_record_opens",
        passed=not refused and not older,
        severity="ERROR" if refused else "WARN",
        description=f"{checked} records were opened and thrown away again: {len(refused)} do not authenticate, "
        f"{older} are under an older key.",
        what_to_do="Refused: find out who changed them (runbook, 'Vault'). Older: run the job rotate_keys.",
        source=rules.ENCRYPTION,
        numbers={
            "records": checked,
            "refused": len(refused),
            "under_older_key": older,
            "older_format": older_format,
            "keys": len(vault.keys.key_ids()),
            "keyring_of_one_machine": vault.keys.is_local,
        },
    )


def every_reading_is_audited(database: Database, *, account_id: str) -> CheckResult:
    """Details that are here were asked for, and details that were sent were revealed, with an entry from before.

    A call or a reveal that failed has read nothing, and is no evidence of a reading.
    """
    with database.begin() as connection:
        mends = times_of_mending(connection)
    stored, stored_missing, _ = _count_missing(
        database, account_id, lambda tx, after: stored_without_call(
            tx, SHIPPING_DETAILS, mends, after, EVIDENCE_PAGE
        ),
    )  # fmt: skip
    sent, sent_missing, without_hash = _count_missing(
        database, account_id, lambda tx, after: sent_without_reveal(tx, mends, after, EVIDENCE_PAGE)
    )
    return CheckResult(
        name="every_reading_is_audited",
        passed=not stored_missing and not sent_missing and not without_hash,
        severity="ERROR",
        description=f"Of {stored} orders' details in the vault {stored_missing} have no restricted call that succeeded "
        f"in the audit log from right before, of {sent} orders sent to the warehouse {sent_missing} no reveal; of "
        f"{without_hash} the hash of what was sent is gone.",
        what_to_do="Somebody wrote past the pipeline, or the audit log was cut: verify it (runbook, 'Audit').",
        source=rules.ACCESS_LOG,
        numbers={
            "stored": stored,
            "stored_without_call": stored_missing,
            "sent": sent,
            "sent_without_reveal": sent_missing,
            "sent_without_hash": without_hash,
        },
    )


def audit_chain_is_intact(
    database: Database, audit: AuditLog, witnesses: Sequence[Witness] = (), *, anchor_problem: str | None = None
) -> CheckResult:
    """Every entry follows from the one before it, and every entry that was witnessed elsewhere is still there.

    `anchor_problem`: what is wrong with where the log begins, as its copies have it.
    """
    verified = audit.verify(witnesses=[witness.end for witness in witnesses])
    absent = set(audit.disagreeing([witness.end for witness in witnesses]))
    # Nothing younger is purged by age, whatever the log says about its own beginning.
    young = database.now() - timedelta(days=DAYS_NEVER_PURGED)
    against = [witness for witness in witnesses if witness.end in absent]
    cut = [witness for witness in against if witness.seen_at > young]
    why = "" if verified.ok else f" Entry {verified.first_bad}: {verified.why}."
    if against and (cut or not verified.ok):
        why += f" It disagrees with {'; '.join(sorted(witness.where for witness in against)[:SHOWN])}."
    if anchor_problem is not None:
        why += f" {anchor_problem}"
    return CheckResult(
        name="audit_chain_is_intact",
        passed=verified.ok and not cut and anchor_problem is None,
        severity="ERROR",
        description=f"{verified.entries} entries were recomputed, and {len(witnesses)} compared with what was kept "
        f"outside.{why}",
        what_to_do="Keep the database as it is, and treat it as an incident (24 hours; runbook, 'Audit').",
        source=rules.ACCESS_LOG,
        numbers={
            "entries": verified.entries,
            "witnesses": len(witnesses),
            "witnesses_against": len(against),
            "first_bad": verified.first_bad or 0,
            "head": verified.head.entry_id if verified.head else 0,
        },
    )


def audit_log_is_retained(database: Database) -> CheckResult:
    """No audit entry younger than 12 months is missing or can be purged, and none is older than 24 months."""
    now = database.now()
    with database.begin() as connection:
        keeping, structure = audit_keeping(connection), audit_structure(connection)
    begins = (keeping.first_id in (None, 1) or keeping.was_purged) and not keeping.is_missed
    too_old = keeping.oldest_at is not None and keeping.oldest_at < now - AUDIT_AT_MOST
    days = (now - keeping.oldest_at).days if keeping.oldest_at else 0
    return CheckResult(
        name="audit_log_is_retained",
        passed=not structure.differences and begins and not keeping.wrong_anchors and not too_old,
        severity="ERROR",
        description=f"The log goes back {days} days. {structure.held} of {structure.declared} definitions that keep it "
        f"from changes are as they were written"
        + _listed(structure.differences)
        + f"; entries of the last 12 months were purged: {_yes(keeping.wrong_anchors > 0)}; its beginning is accounted "
        f"for: {_yes(begins)}; older than 24 months: {_yes(too_old)}.",
        what_to_do="A definition that is missing, other, or not ours is an incident (runbook, 'Audit'). What is too "
        "old is purged by a login of orders_pipeline_retention.",
        source=rules.LOG_RETENTION,
        numbers={
            "days": days,
            "definitions_as_written": structure.held,
            "definitions_declared": structure.declared,
            "differences": len(structure.differences),
            "purged_too_early": keeping.wrong_anchors,
            "beginning_accounted_for": begins,
            "past_24_months": too_old,
        },
    )


def roles_are_as_declared(database: Database, declared: Sequence[DatabaseRight] = ()) -> CheckResult:
    """Each database role may do its work and no more, and nobody else has any power that was not declared."""
    with database.begin() as connection:
        absent, wrong = differences(connection)
        powers = powers_found(connection, declared)
    shown = [*wrong[:SHOWN], *powers.undeclared[:SHOWN]]
    return CheckResult(
        name="roles_are_as_declared",
        passed=not absent and not wrong and not powers.undeclared,
        severity="ERROR" if shown else "WARN",
        description=f"{len(wrong)} grants are not as declared, and {len(powers.undeclared)} powers beside them are not "
        f"declared{': ' + '; '.join(shown) if shown else ''}."
        + (f" Roles that are not there: {', '.join(absent)}." if absent else "")
        + (f" Members: {', '.join(powers.members)}." if powers.members else "")
        + (
            " This process is bound by no grant, or owns the tables: give it a login of its own "
            "(docs/compliance.md, 'Roles')."
            if powers.session_owns or powers.session_unbound
            else ""
        ),
        what_to_do="Take back what is too much; what is meant to be there belongs into ORDERS_DATABASE_RIGHTS "
        "(docs/compliance.md, 'Roles'). For what is missing have an administrator run roles.sql.",
        source=rules.LEAST_PRIVILEGE,
        numbers={
            "roles_missing": len(absent),
            "grants_wrong": len(wrong),
            "powers_undeclared": len(powers.undeclared),
            "members": len(powers.members),
            "superuser": powers.session_unbound,
            "owns_the_tables": powers.session_owns,
        },
    )


def tls_on_every_endpoint(
    database: Database, settings: Settings, environ: Mapping[str, str], *, dagster_url: str | None = None
) -> CheckResult:
    """Every endpoint is https with TLS 1.2 or newer, or on this machine; so is each connection to a database."""
    urls: dict[str, str | None] = {
        name: value for name, value in environ.items() if name.startswith("AWS_ENDPOINT_URL") and value
    }
    for amazon in settings.accounts_of_file or (settings.amazon,):
        if amazon is None:
            continue
        of_whom = "" if settings.accounts_of_file is None else f" of {amazon.account_id}"
        urls[f"AMAZON_SPAPI_ENDPOINT{of_whom}"] = amazon.spapi_endpoint
        urls[f"AMAZON_LWA_ENDPOINT{of_whom}"] = amazon.lwa_endpoint
        urls[f"AMAZON_SQS_QUEUE_URL{of_whom}"] = amazon.queue_url
    if settings.warehouse is not None:
        urls["WMS_BASE_URL"] = settings.warehouse.base_url
    alerts = settings.alerts
    for name, secret in (
        ("SLACK_WEBHOOK_URL", alerts.slack_webhook_url),
        ("ORDERS_HEARTBEAT_URL", alerts.heartbeat_url),
    ):
        if secret is not None:
            urls[name] = secret.get_secret_value()
    if (mailbox := alerts.mailbox) is not None:
        urls["ORDERS_SMTP_HOST"] = f"{'http' if mailbox.tls == 'none' else 'https'}://{mailbox.host}:{mailbox.port}"
    bare = sorted(
        name
        for name, url in urls.items()
        if url and not (is_loopback(url) or (url.startswith("https://") and has_one_reading(url)))
    )
    with database.begin() as connection:
        if not connection_is_protected(connection):
            bare.append("ORDERS_DATABASE_URL")
    if dagster_url is not None and not is_encrypted(dagster_url, environ):
        bare.append("DAGSTER_POSTGRES_URL")
    modern = ssl.create_default_context().minimum_version >= ssl.TLSVersion.TLSv1_2
    return CheckResult(
        name="tls_on_every_endpoint",
        passed=not bare and modern,
        severity="ERROR",
        description=f"{len(urls) + 1 + (dagster_url is not None)} endpoints: "
        + (f"in clear: {', '.join(bare)}." if bare else "none is in clear.")
        + ("" if modern else " This Python accepts TLS older than 1.2."),
        what_to_do="Use https, for a database sslmode=verify-full, and a Python that refuses TLS older than 1.2.",
        source=rules.TRANSIT,
        numbers={
            "endpoints": len(urls) + 1 + (dagster_url is not None),
            "in_clear": len(bare),
            "tls_1_2_or_newer": modern,
        },
    )


def client_secret_is_young(database: Database, vault: Vault, settings: Settings) -> CheckResult:
    """No client secret has come to the end of its 180 days; an alert at 90, 60, 30, 15, 7 and 1 days before.

    Accounts may have applications of their own: what is told is the oldest secret's.
    """
    accounts = settings.amazon_accounts()
    applications = {amazon.client_id: amazon for amazon in accounts}
    for amazon in applications.values():
        # Of a secret that was never seen no notice is taken over.
        secret_life(database, vault, amazon)
    notices = sum(take_expiry_notices(database, vault, amazon, tuple(applications)) for amazon in accounts)
    lives = {one: secret_life(database, vault, amazon) for one, amazon in applications.items()}
    oldest = min(lives, key=lambda one: lives[one].days_left)
    life, warning = lives[oldest], lives[oldest].warning
    whose = "The client secret" if len(lives) == 1 else f"The oldest of {len(lives)} client secrets ({oldest})"
    return CheckResult(
        name="client_secret_is_young",
        passed=life.days_left > SECRET_WARN_DAYS,
        severity="ERROR" if life.days_left <= SECRET_ERROR_DAYS else "WARN",
        description=f"{whose} ends on {life.expires_at:%Y-%m-%d}, in {life.days_left:.0f} days ("
        + ("as Amazon says" if life.from_amazon else "180 days after it was first seen here; it may be older")
        + ").",
        what_to_do="Rotate it before its end: the old one works for seven more days (runbook, 'Client secret').",
        source=rules.CREDENTIALS,
        numbers={
            "days_left": life.days_left,
            "from_amazon": life.from_amazon,
            "warned_at_days": warning or 0,
            "notices_read": notices,
        },
    )


def _count_missing(
    database: Database, account_id: str, page_of: Callable[[AccountTransaction, str], EvidencePage]
) -> tuple[int, int, int]:
    examined = missing = broken = 0
    after: str | None = ""
    while after is not None:
        with database.transaction(account_id) as tx:
            page = page_of(tx, after)
        examined, missing, broken = examined + page.examined, missing + page.missing, broken + page.broken
        after = page.last
    return examined, missing, broken


def _listed(sentences: Sequence[str]) -> str:
    """The first of them; how many more there are is in the numbers."""
    return f" ({'; '.join(sentences[:SHOWN])})" if sentences else ""


def _yes(value: bool) -> str:
    return "yes" if value else "no"

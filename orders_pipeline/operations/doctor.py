"""`orders-pipeline doctor`: is everything there that the pipeline needs, and if not, what is to be done?"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.exc import OperationalError

from orders_pipeline.channels.amazon.diagnostics import DiagnosticResult, bad, good
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.database.engine import limits_not_in_force
from orders_pipeline.database.migrate import DatabaseNewerThanCode, missing_revisions
from orders_pipeline.operations.alerting.rows import channel_states
from orders_pipeline.operations.alerting.rules_file import rules_in_use
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.shipments.event_rows import last_webhook_at
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.wms.port import ASKED_OF_A_PERSON, Capability, WarehouseError


def examine(deployment: Deployment) -> list[DiagnosticResult]:
    """Every finding, good or bad. Raises SettingsError if nobody can be served: nothing else can be said then."""
    settings = deployment.settings
    settings.require_servable()
    results = [good("settings", f"accepted, but: {warning}") for warning in settings.warnings]
    results += [
        bad(f"account {one.name}", f"it is not served: {'; '.join(one.problems)}", "mend AMAZON_ACCOUNTS_FILE, or .env")
        for one in settings.wrong_accounts
    ]
    results.append(check_database(deployment))
    if not results[-1].ok:
        return results
    for part in (_keys, _warehouse, check_webhooks, check_alerts):
        results.append(part(deployment))
    for account in deployment.accounts():
        found = examine_account(account)
        # One account needs no name; of several each finding has its own.
        named = found if settings.accounts_of_file is None else [_of(account, one) for one in found]
        results.extend(named)
    return results


def _of(account: ServedAccount, result: DiagnosticResult) -> DiagnosticResult:
    return replace(result, subject=f"{account.account_id}: {result.subject}")


def examine_account(account: ServedAccount) -> list[DiagnosticResult]:
    """The queue and Amazon, as this account reaches them."""
    from orders_pipeline.channels.amazon.doctor import check_amazon
    from orders_pipeline.channels.amazon.queue_diagnostics import check_queue

    results: list[DiagnosticResult] = []
    attributes = _queue_attributes(account, results)
    if attributes is not None:
        results.extend(check_queue(attributes))
    queue_arn = attributes.get("QueueArn") if attributes is not None else None
    results.extend(check_amazon(account.amazon, account.settings, queue_arn))
    return results


def check_database(deployment: Deployment) -> DiagnosticResult:
    """Whether PostgreSQL answers, has this release's schema, and keeps the limits that a connection asks for."""
    try:
        with deployment.database.begin() as connection:
            missing = missing_revisions(connection)
            unlimited = limits_not_in_force(connection)
    except EmbeddedPostgresError as error:
        return bad("database", "the embedded PostgreSQL is not running", str(error))
    except OperationalError as error:
        cause = str(error.orig).strip().splitlines()[0]
        return bad("database", "PostgreSQL does not answer", f"{cause}: check ORDERS_DATABASE_URL and the server")
    except DatabaseNewerThanCode as error:
        return bad("database", "it is newer than this release", str(error))
    if missing.needed:
        return bad(
            "database",
            f"its schema is older than this release, which needs revision {missing.needed[-1]}",
            'run `orders-pipeline migrate` (`up` does it); docs/runbook.md, "Upgrades", says what to stop before',
        )
    if unlimited:
        return bad(
            "database",
            f"{', '.join(unlimited)} of its sessions is not set: a pooler before it drops what a connection asks for",
            'give the login these settings (docs/operating.md, "A pooler")',
        )
    if missing.after:
        return good(
            "database",
            "PostgreSQL answers; once no process of the earlier release runs, finish the upgrade: "
            "`orders-pipeline migrate --only after`",
        )
    return good("database", "PostgreSQL answers, and its schema is up to date")


def _keys(deployment: Deployment) -> DiagnosticResult:
    try:
        deployment.vault.keys.current_key_id()
    except VaultError as error:
        return bad("keys", "the key-encryption key cannot be used", str(error))
    key_id = deployment.settings.kms_key_id
    if key_id is not None and not key_id.rsplit(":", 1)[-1].startswith("alias/"):
        return bad(
            "keys",
            "ORDERS_KMS_KEY_ID names a key, not an alias: it cannot be rotated, so that an old backup could bring back "
            "what was shredded",
            "make an alias for it (aws kms create-alias) and set ORDERS_KMS_KEY_ID=alias/<name>",
        )
    if deployment.vault.keys.is_local:
        return good("keys", "a keyring file in the data folder: for one machine; use ORDERS_KMS_KEY_ID for several")
    return good("keys", "AWS KMS")


def _warehouse(deployment: Deployment) -> DiagnosticResult:
    try:
        deployment.warehouse.poll(None, 1)
    except WarehouseError as error:
        return bad("warehouse", "it does not answer as the contract says", str(error))
    can = [f"{one} ({one.meaning})" for one in Capability if one in deployment.warehouse.capabilities]
    by_hand = [str(one) for one in ASKED_OF_A_PERSON if one not in deployment.warehouse.capabilities]
    asked = f"; a person is asked in its place for: {', '.join(by_hand)}" if by_hand else ""
    return good(
        "warehouse", f"it answers, and takes our token; it can {', '.join(can) or 'ship orders, no more'}{asked}"
    )


def check_webhooks(deployment: Deployment) -> DiagnosticResult:
    """Whether they are taken, and when the last one was: never bad, for the warehouse is polled all the same."""
    if not deployment.takes_webhooks:
        return good("webhooks", "refused: no WMS_WEBHOOK_SECRET, or an adapter without any; the warehouse is polled")
    with deployment.database.begin() as connection:
        taken_at = last_webhook_at(connection)
    newest = f"the last was taken at {taken_at:%Y-%m-%d %H:%M} UTC" if taken_at else "none was taken yet"
    return good("webhooks", f"taken at /webhooks/warehouse; {newest}")


def check_alerts(deployment: Deployment) -> DiagnosticResult:
    """Which channels alerts go to, whether those took what they were sent, and whether the file of rules is right."""
    alerts = deployment.settings.alerts
    use = rules_in_use(deployment.database, alerts.rules_file, {kind.name for kind in ALERTS})
    if use.problem is not None:
        return bad("alerts", "ORDERS_ALERTS_FILE cannot be used", use.problem)
    with deployment.database.begin() as connection:
        failing = [row for row in channel_states(connection) if row.failure is not None]
    if failing:
        return bad("alerts", f"{failing[0].channel} takes nothing", failing[0].failure)
    places = {"Slack": alerts.slack_webhook_url, "email": alerts.mailbox, "the heartbeat": alerts.heartbeat_url}
    named = [name for name, place in places.items() if place is not None]
    if not named:
        return good("alerts", "in Dagster and the log alone: set SLACK_WEBHOOK_URL or ORDERS_SMTP_HOST to be told")
    return good("alerts", f"beside Dagster and the log: {', '.join(named)}")


def _queue_attributes(account: ServedAccount, results: list[DiagnosticResult]) -> dict[str, str] | None:
    from orders_pipeline.intake.queue import QueueUnavailable

    try:
        return account.queue.attributes()
    except QueueUnavailable as error:
        results.append(bad("queue", f"SQS does not serve it ({error.code})", error.what_to_do))
        return None

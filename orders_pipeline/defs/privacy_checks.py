"""The compliance checks in Dagster: after the nightly retention, and by anybody at any time with "Execute" in the UI.

They are no part of their asset's step, so that an auditor can ask for one without anything being shredded. They write
nothing but what they say: what looking would write was looked at by the step, and is read here.

https://docs.dagster.io/guides/test/asset-checks
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from orders_pipeline.audit.log import acting_as
from orders_pipeline.audit.rows import ChainEnd
from orders_pipeline.database.connect import dagster_database_url
from orders_pipeline.database.engine import Database
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.automation import HISTORY, PRIVACY
from orders_pipeline.defs.guide import described, link
from orders_pipeline.defs.resources import AuditExportResource, StoreResource
from orders_pipeline.operations.dagster_history import history_is_pruned
from orders_pipeline.operations.deployment import ServedAccount
from orders_pipeline.operations.examination import EXAMINED
from orders_pipeline.operations.overdue import AUDIT_CHECKS
from orders_pipeline.operations.overdue import RETENTION_CHECKS as RETENTION_CHECKS_WORK
from orders_pipeline.privacy import rules
from orders_pipeline.privacy.audit_export.copies import Witness, anchor_problem, audit_is_exported, newest_witness
from orders_pipeline.privacy.check_result import CheckResult, could_not_run, merged
from orders_pipeline.privacy.checks import checks
from orders_pipeline.privacy.checks.check_alerts import alert_on
from orders_pipeline.privacy.checks.stored_results import stored_result
from orders_pipeline.privacy.retention.database_clock import clocks_are_believable
from orders_pipeline.work.workers import error_location


def _check(text: str, red: str, rule: str) -> str:
    return described(text, red=red, rule=f"{rule} ({link('where it is kept', 'compliance.md')}).")


LOG_CHECKS = {
    "audit_chain_is_intact": _check(
        "The audit log is as it was written: its hash chain holds from end to end.\n\nAnd it still has the entries "
        "that were witnessed outside it (the newest export, earlier materializations of this asset).",
        "Audit",
        rules.ACCESS_LOG,
    ),
    "every_reading_is_audited": _check(
        "Every stored or pushed address has the audit entries that its reading must have left.",
        "Audit",
        rules.ACCESS_LOG,
    ),
    "audit_log_is_retained": _check(
        "The audit log reaches back as far as it must: 12 months at least, 24 here.", "Audit", rules.LOG_RETENTION
    ),
}
EXPORT_CHECKS = {
    "audit_is_exported": _check(
        "Every day of the audit log is kept outside the database too, and the log still agrees.",
        "Audit",
        rules.LOG_RETENTION,
    ),
}
RETENTION_CHECKS = {
    "nothing_past_its_time": _check(
        "No buyer's data is kept past its time; 30 days after delivery is the hard limit.",
        "Compliance",
        rules.RETENTION,
    ),
    "clocks_are_believable": _check(
        "No stored time is still to come, and the database's clock agrees with Amazon's.", "Clocks", rules.RETENTION
    ),
    "erased_within_the_day": _check(
        "Every request to erase was carried out within a day, at the warehouse too.", "Compliance", rules.DELETION
    ),
    "every_record_opens": _check(
        "Every stored record can be decrypted, and under a key that is there.", "Vault", rules.ENCRYPTION
    ),
    "roles_are_as_declared": _check(
        "The database's roles can do what they were given, and no more; nobody else can anything.",
        "Rights",
        rules.LEAST_PRIVILEGE,
    ),
    "tls_on_every_endpoint": _check(
        "Every endpoint is https with TLS 1.2 or newer, or on this machine.", "Compliance", rules.TRANSIT
    ),
    "client_secret_is_young": _check(
        "The Login with Amazon client secret is younger than 180 days.", "Client secret", rules.CREDENTIALS
    ),
    "no_copies_in_clear": _check(
        "No buyer's data lies in clear, or merely encoded, in a table, Dagster's storage, or a file.",
        "Compliance",
        rules.NO_COPIES,
    ),
}
HISTORY_CHECKS = {
    "history_is_pruned": _check("Dagster's own runs and events are pruned in time.", "Dagster's history", rules.NON_PII)
}

# Heads of the log that earlier runs showed, of each asset: Dagster keeps them in another database.
HEADS_REMEMBERED = 10
EVENTS_A_PAGE = 50
PAGES_REMEMBERED = 40
_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")

Evaluations = Mapping[str, Callable[[], CheckResult]]


def _specs(
    asset: str, checks_of_it: Mapping[str, str], condition: dg.AutomationCondition | None = PRIVACY
) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(name, asset=asset, description=text, automation_condition=condition)
        for name, text in checks_of_it.items()
    ]


@dg.multi_asset_check(
    name="audit_log_checks",
    specs=[*_specs("pii_access_log", LOG_CHECKS), *_specs("audit_exports", EXPORT_CHECKS)],
    can_subset=True,
)
def audit_log_checks(
    context: dg.AssetCheckExecutionContext, store: StoreResource, audit_export: AuditExportResource
) -> Iterator[dg.AssetCheckResult]:
    """The audit log: unchanged, complete, kept long enough, and elsewhere too."""
    database, audit = store.database(), store.audit()

    def chain() -> CheckResult:
        target = audit_export.target()
        exported = newest_witness(target, database.now().date())
        witnesses = [*([exported] if exported else []), *_remembered_heads(context.instance)]
        return checks.audit_chain_is_intact(database, audit, witnesses, anchor_problem=anchor_problem(database, target))

    evaluations: Evaluations = {
        "audit_chain_is_intact": chain,
        "every_reading_is_audited": lambda: of_each_account(
            store.accounts(), lambda one: checks.every_reading_is_audited(database, account_id=one.account_id)
        ),
        "audit_log_is_retained": lambda: checks.audit_log_is_retained(database),
        "audit_is_exported": lambda: audit_is_exported(database, audit, audit_export.target()),
    }
    yield from _evaluate(context, store, evaluations, work=AUDIT_CHECKS)


@dg.multi_asset_check(name="retention_checks", specs=_specs("pii_retention", RETENTION_CHECKS), can_subset=True)
def retention_checks(context: dg.AssetCheckExecutionContext, store: StoreResource) -> Iterator[dg.AssetCheckResult]:
    """What is kept, for how long, under which keys, and who could read it."""
    database, settings = store.database(), store.settings()
    # These two look at every account of whom something is stored.
    first = store.deployment().account_ids()[0]
    evaluations: Evaluations = {
        "nothing_past_its_time": lambda: checks.nothing_past_its_time(database, account_id=first),
        "clocks_are_believable": lambda: clocks_are_believable(database),
        "erased_within_the_day": lambda: checks.erased_within_the_day(database, account_id=first),
        "roles_are_as_declared": lambda: checks.roles_are_as_declared(database, settings.database_rights),
        "tls_on_every_endpoint": lambda: checks.tls_on_every_endpoint(
            database, settings, os.environ, dagster_url=dagster_database_url(settings)
        ),
        **{name: partial(stored_result, database, name) for name in EXAMINED},
    }
    yield from _evaluate(context, store, evaluations, work=RETENTION_CHECKS_WORK)


@dg.multi_asset_check(name="history_checks", specs=_specs("dagster_history", HISTORY_CHECKS, HISTORY), can_subset=True)
def history_checks(context: dg.AssetCheckExecutionContext, store: StoreResource) -> Iterator[dg.AssetCheckResult]:
    """What Dagster remembers of old runs."""
    dagster = Database(dagster_database_url(store.settings()), pool_size=1)
    try:
        evaluations: Evaluations = {"history_is_pruned": lambda: history_is_pruned(dagster)}
        yield from _evaluate(context, store, evaluations)
    finally:
        dagster.close()


all_checks = [audit_log_checks, retention_checks, history_checks]


def _evaluate(
    context: dg.AssetCheckExecutionContext,
    store: StoreResource,
    evaluations: Evaluations,
    *,
    work: str | None = None,
) -> Iterator[dg.AssetCheckResult]:
    chosen = {key.name: key for key in context.selected_asset_check_keys}
    with acting_as(actor_of(context)):
        for name, evaluate in evaluations.items():
            if name not in chosen:
                continue
            try:
                result = evaluate()
            except Exception as error:  # noqa: BLE001 - a check that dies is red, and takes no other's word away
                # Without the error's own text, which may hold what was being read.
                context.log.error("%s could not run: %s", name, error_location(error))  # noqa: TRY400
                result = could_not_run(name, error)
            # What is red is the deployment's: its alert stands under the first account, and names the one it is about.
            alert_on(store.database(), result, account_id=store.deployment().account_ids()[0])
            yield dg.AssetCheckResult(
                asset_key=chosen[name].asset_key,
                check_name=name,
                passed=result.passed,
                severity=dg.AssetCheckSeverity[result.severity],
                description=result.text(),
                metadata={**result.as_metadata(), **result.notes, "source": result.source},
            )
    # One that an auditor asked for is not the nightly work.
    if work is not None and evaluations.keys() <= chosen.keys():
        store.deployment().note_done(work)


def of_each_account(accounts: Sequence[ServedAccount], evaluate: Callable[[ServedAccount], CheckResult]) -> CheckResult:
    """The check of every account as one: it passes if each does, and names the accounts whose does not."""
    return merged({account.account_id: evaluate(account) for account in accounts})


def _remembered_heads(instance: dg.DagsterInstance) -> list[Witness]:
    """Heads that runs of ours have shown. Only hints: whoever can write Dagster's database can make or remove them."""
    heads: list[Witness] = []
    for asset in ("pii_access_log", "audit_exports"):
        heads += _heads_of(instance, dg.AssetKey(asset))
    return heads


def _heads_of(instance: dg.DagsterInstance, asset: dg.AssetKey) -> list[Witness]:
    heads: list[Witness] = []
    cursor: str | None = None
    for _ in range(PAGES_REMEMBERED):
        page = instance.fetch_materializations(asset, limit=EVENTS_A_PAGE, cursor=cursor)
        for record in page.records:
            materialization = record.asset_materialization
            shown = materialization.metadata.get("head") if materialization else None
            # What anybody reported by hand, in the UI or by its API, has no run: it is passed over, however much of it.
            if not record.run_id or shown is None or not (head := _HEAD.fullmatch(str(shown.value))):
                continue
            heads.append(
                Witness(
                    ChainEnd(int(head[1]), bytes.fromhex(head[2])),
                    datetime.fromtimestamp(record.timestamp, UTC),
                    f"what Dagster remembers of run {record.run_id[:8]} (a hint: its database can be written)",
                )
            )
            if len(heads) == HEADS_REMEMBERED:
                return heads
        if not page.has_more:
            break
        cursor = page.cursor
    return heads

"""One-off work in Dagster: what the command line does, started from the UI, with its result in the run."""

from collections.abc import Sequence

import dagster as dg

from orders_pipeline.audit.log import acting_as, is_order_id
from orders_pipeline.defs.accounts import as_metadata, fail_on_defects, serve_accounts
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.guide import DESTROYS, SHIPS_ORDERS, described, link
from orders_pipeline.defs.job_configs import (
    AdoptConfig,
    EraseConfig,
    ErasedByHandConfig,
    ParkedStage,
    RecoverConfig,
    ReplayConfig,
    WaiveConfig,
)
from orders_pipeline.defs.metadata import table
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.operations.adopt import OrdersNotAdopted, adopt_in_accounts
from orders_pipeline.operations.deployment import ServedAccount, StoredAccount, UnknownAccount
from orders_pipeline.operations.doctor import examine
from orders_pipeline.operations.replay import recover_order, replay_account
from orders_pipeline.operations.subscribe import subscribe_account
from orders_pipeline.operations.waive import HoldNotWaived, waive_hold
from orders_pipeline.privacy import rules
from orders_pipeline.privacy.erasure.erasure import erase
from orders_pipeline.privacy.erasure.warehouse_erasure import BY_HAND, note_erased_by_hand
from orders_pipeline.vault.rotation import rotate_keys


def _order_id(given: str) -> str:
    """The id. What no order id is may be a name: it is refused without being repeated."""
    order_id = given.strip()
    if not is_order_id(order_id):
        raise dg.Failure(
            description="An order id is made of letters, digits and hyphens: give Amazon's order id, nothing else. If "
            "a name was typed, delete this run: its configuration is kept in clear.",
            allow_retries=False,
        )
    return order_id


def _account_of(store: StoreResource, order_id: str) -> ServedAccount:
    """The account whose order it is."""
    try:
        return store.deployment().account_of(order_id)
    except UnknownAccount as error:
        raise _no_account(error) from error


def _stored_account_of(store: StoreResource, order_id: str) -> StoredAccount:
    """The account whose order it is, also one that is no longer served."""
    try:
        return store.deployment().stored_account_of(order_id)
    except UnknownAccount as error:
        raise _no_account(error) from error


def _no_account(error: UnknownAccount) -> dg.Failure:
    return dg.Failure(
        description=f"No account has this order yet. {error} `orders-pipeline` takes --account.", allow_retries=False
    )


def _by_account(store: StoreResource, order_ids: Sequence[str]) -> dict[ServedAccount, list[str]]:
    """The orders of each account; without orders, every account."""
    found: dict[ServedAccount, list[str]] = {} if order_ids else {one: [] for one in store.accounts()}
    for order_id in map(_order_id, order_ids):
        found.setdefault(_account_of(store, order_id), []).append(order_id)
    return found


@dg.op(out=dg.Out(dg.Nothing))
def erase_buyers_data(context: dg.OpExecutionContext, config: EraseConfig, store: StoreResource) -> None:
    """Forget who bought: here, at the warehouse, and in every backup's reach. Red: it is gone on with nightly."""
    order_id = _order_id(config.order_id)
    account = _stored_account_of(store, order_id)
    with acting_as(actor_of(context)):
        totals = erase(
            store.database(), store.vault(), store.deployment().warehouse_or_none(), account_id=account.account_id,
            order_id=order_id, reason=f"asked by: {config.requested_by.value}",
        )  # fmt: skip
    if not totals.complete:
        raise dg.Failure(
            description="Not all of it is done yet: the nightly retention goes on; see erased_within_the_day.",
            metadata=totals.as_metadata(),
            allow_retries=False,
        )
    context.add_output_metadata(totals.as_metadata())


@dg.job(
    name="erase",
    tags=DESTROYS,
    description=described(
        "⚠ Cannot be undone: forgets the buyer of one order, here and at the warehouse.\n\nFor a request of the "
        "buyer, of Amazon or of the seller. An order that has not left is given up: cancel it at Amazon.",
        red="Compliance",
        rule=f"{rules.DELETION} ({link('where it is kept', 'compliance.md')}).",
    ),
)
def erase_job() -> None:
    erase_buyers_data()


@dg.op(out=dg.Out(dg.Nothing))
def note_warehouse_erasure(context: dg.OpExecutionContext, config: ErasedByHandConfig, store: StoreResource) -> None:
    """Write down that a person had the warehouse erase one buyer: its adapter cannot ask for it."""
    order_id = _order_id(config.order_id)
    account = _account_of(store, order_id)
    with acting_as(actor_of(context)):
        owed = note_erased_by_hand(
            account.database, account.audit, account_id=account.account_id, order_id=order_id, reason=BY_HAND
        )
    context.add_output_metadata({"owed": owed})


@dg.job(
    name="erased_by_hand",
    description=described(
        "Notes that a person had the warehouse erase one buyer (alert erase.by_hand).\n\nFor a warehouse whose adapter "
        "cannot ask for it. Not before it is done there: it ends the alert.",
        red="Compliance",
        rule=f"{rules.DELETION} ({link('where it is kept', 'compliance.md')}).",
    ),
)
def erased_by_hand_job() -> None:
    note_warehouse_erasure()


@dg.op(out=dg.Out(dg.Nothing))
def waive_one_hold(context: dg.OpExecutionContext, config: WaiveConfig, store: StoreResource) -> None:
    """Write down a person's decision; the next run of `sync_orders` follows it."""
    order_id = _order_id(config.order_id)
    account = _account_of(store, order_id)
    with acting_as(actor_of(context)):
        try:
            waive_hold(
                account.database,
                account.audit,
                account_id=account.account_id,
                order_id=order_id,
                reasons=[reason.value for reason in config.reasons],
                why=config.why.value if config.ticket is None else f"{config.why.value} (ticket {config.ticket})",
            )
        except HoldNotWaived as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error


@dg.job(
    name="waive_hold",
    tags=SHIPS_ORDERS,
    description=described(
        "⚠ Ships an order in spite of its reason to wait: a person's decision, in the audit log.\n\nThe next run of "
        "`sync_orders` follows it. No reasons: an earlier decision is taken back.",
        red="Holds",
        rule=f"{link('which reasons a person may waive', 'runbook.md', 'Holds')}.",
    ),
)
def waive_hold_job() -> None:
    waive_one_hold()


@dg.op(out=dg.Out(dg.Nothing))
def examine_deployment(context: dg.OpExecutionContext, store: StoreResource) -> None:
    """Check settings, database, keys, warehouse, queue and Amazon; fail with what to do if anything is wrong."""
    with acting_as(actor_of(context)):
        results = examine(store.deployment())
    shown = table(
        ["subject", "ok", "detail", "what_to_do"], [(f.subject, f.ok, f.detail, f.what_to_do or None) for f in results]
    )
    wrong = [result for result in results if not result.ok]
    if wrong:
        raise dg.Failure(
            description="; ".join(f"{result.subject}: {result.what_to_do}" for result in wrong),
            metadata={"results": shown},
            allow_retries=False,
        )
    context.add_output_metadata({"results": shown})


@dg.op(out=dg.Out(dg.Nothing))
def subscribe_to_order_changes(context: dg.OpExecutionContext, store: StoreResource) -> None:
    """Have Amazon deliver to the queue what the account is to hear of; running it again changes nothing."""
    context.add_output_metadata(as_metadata(serve_accounts(context, store.accounts(), subscribe_account, waits=True)))
    fail_on_defects(context)


@dg.op(out=dg.Out(dg.Nothing))
def replay_parked_orders(context: dg.OpExecutionContext, config: ReplayConfig, store: StoreResource) -> None:
    """Make parked orders due again; the next runs of the other jobs do the work."""
    stage = None if config.stage is ParkedStage.ANY else config.stage.value
    named = _by_account(store, config.order_ids)
    served = serve_accounts(context, list(named), lambda one: replay_account(one, named[one], stage))
    context.add_output_metadata(as_metadata(served))
    fail_on_defects(context)


@dg.op(out=dg.Out(dg.Nothing))
def recover_one_order(context: dg.OpExecutionContext, config: RecoverConfig, store: StoreResource) -> None:
    """Fetch any order by its id and bring it into line."""
    order_id = _order_id(config.order_id)
    account = _account_of(store, order_id)
    with acting_as(actor_of(context)):
        packages = recover_order(account.database, account.audit, account_id=account.account_id, order_id=order_id)
    context.add_output_metadata({"packages": packages})


@dg.op(out=dg.Out(dg.Nothing))
def adopt_named_orders(context: dg.OpExecutionContext, config: AdoptConfig, store: StoreResource) -> None:
    """Make orders from before the start ours; the next run of `sync_orders` ships them."""
    try:
        with acting_as(actor_of(context)):
            counts = adopt_in_accounts(
                store.deployment(), config.order_ids, everything=config.everything, dry_run=config.dry_run
            )
    except (OrdersNotAdopted, UnknownAccount) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    context.add_output_metadata({**counts, "dry_run": config.dry_run})


@dg.op(out=dg.Out(dg.Nothing))
def rotate_key_encryption_key(context: dg.OpExecutionContext, store: StoreResource) -> None:
    """A new key-encryption key, everything under it, the older ones destroyed; resumable, while the pipeline runs."""
    with acting_as(actor_of(context)):
        rotation = rotate_keys(
            store.database(), store.vault().keys, store.audit(), purpose="keys rotate", notify=context.log.info
        )
    context.add_output_metadata({"rewrapped": rotation.rewrapped, "complete": rotation.complete})


@dg.job(
    name="rotate_keys",
    tags=DESTROYS,
    description=described(
        "⚠ Destroys the older key-encryption keys once everything is under a new one.\n\nAs `orders-pipeline keys "
        "rotate`: while the pipeline runs, and where it stopped if it is started again. Backups from before open no "
        "longer.",
        red="Vault",
        rule=f"{rules.ENCRYPTION} ({link('where it is kept', 'compliance.md')}).",
    ),
)
def rotate_keys_job() -> None:
    rotate_key_encryption_key()


@dg.job(
    name="doctor",
    description=described(
        "Is everything there that the pipeline needs? Changes nothing; red says what to do.\n\nLooks at settings, "
        "database, keys, warehouse, queue and Amazon, one small call each, as `orders-pipeline doctor` does.",
        red="What runs",
        rule="what the settings need is in the README of the repository.",
    ),
)
def doctor() -> None:
    examine_deployment()


@dg.job(
    name="subscribe",
    description=described(
        "Has Amazon deliver order changes to the queue; running it again changes nothing.\n\nAs `orders-pipeline "
        "subscribe`: the destination and the subscriptions of each account. In Brazil the shipments of FBA Onsite too.",
        red="Intake",
        rule="Amazon's Notifications API: one subscription of ORDER_CHANGE, and in Brazil one of "
        "FBA_OUTBOUND_SHIPMENT_STATUS, for each seller.",
    ),
)
def subscribe() -> None:
    subscribe_to_order_changes()


@dg.job(
    name="replay_parked",
    description=described(
        "Gives what was set aside another chance: by order, by stage, or all.\n\nFirst mend what the alert names. It "
        "makes the work due, and the next runs do it: what fails again is set aside again.",
        red="Work that waits",
        rule=f"{link('what each failure means', 'failures.md')}.",
    ),
)
def replay_parked_job() -> None:
    replay_parked_orders()


@dg.job(
    name="recover_order",
    description=described(
        "Fetches one order by its id, known or not, and brings it into line.\n\nSafe at any time: what Amazon and the "
        "warehouse have already is not sent again.",
        red="Fetch",
        rule=f"Amazon's answer decides ({link('the decision', 'decisions/17-amazons-answer-decides.md')}).",
    ),
)
def recover_order_job() -> None:
    recover_one_order()


@dg.job(
    name="adopt_orders",
    tags=SHIPS_ORDERS,
    description=described(
        "⚠ Ships orders that were purchased before the start: first make sure that no other process ships "
        "them.\n\nIt only counts them until `dry_run` is `false`: those that are named, or with `everything` all that "
        "wait for it.",
        red="Holds",
        rule=f"{link('why they wait', 'decisions/12-cut-over-by-purchase-time.md')}.",
    ),
)
def adopt_orders_job() -> None:
    adopt_named_orders()


jobs = [
    adopt_orders_job,
    doctor,
    subscribe,
    replay_parked_job,
    recover_order_job,
    waive_hold_job,
    erase_job,
    erased_by_hand_job,
    rotate_keys_job,
]

"""One-off work in Dagster: what the command line does, started from the UI, with its result in the run."""

from collections.abc import Sequence
from enum import Enum

import dagster as dg
from pydantic import Field

from orders_pipeline.audit.log import acting_as, is_order_id
from orders_pipeline.defs.accounts import as_metadata, fail_on_defects, serve_accounts
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.metadata import table
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.fulfillment.eligibility import (
    BUYER_ASKS_TO_CANCEL,
    DOSAGE_LABEL,
    REGULATED,
    TRANSPARENCY_CODES,
)
from orders_pipeline.operations.adopt import OrdersNotAdopted, adopt_in_accounts
from orders_pipeline.operations.deployment import ServedAccount, UnknownAccount
from orders_pipeline.operations.doctor import examine
from orders_pipeline.operations.replay import recover_order, replay_account
from orders_pipeline.operations.subscribe import subscribe_account
from orders_pipeline.operations.waive import HoldNotWaived, waive_hold
from orders_pipeline.privacy.erasure.erasure import erase
from orders_pipeline.privacy.erasure.warehouse_erasure import BY_HAND, note_erased_by_hand
from orders_pipeline.vault.rotation import rotate_keys

# Run configuration is kept in Dagster's database in clear, and a text that a person types could hold a buyer's name: it
# takes words of a list, numbers, and order ids.


class ParkedStage(Enum):
    """Where an order was set aside."""

    ANY = "any"
    EVENTS = "events"
    FETCH = "fetch"
    DECIDE = "decide"
    PUSH = "push"
    CONFIRM = "confirm"
    ERASE = "erase"
    DELIVERY = "delivery"
    REPORT = "report"


class ReplayConfig(dg.Config):
    """Which orders get another chance: the named ones, or all that are parked, everywhere or in one stage."""

    order_ids: list[str] = []
    stage: ParkedStage = ParkedStage.ANY


class RecoverConfig(dg.Config):
    """The order to fetch and bring into line, known or not."""

    order_id: str


class AdoptConfig(dg.Config):
    """Which orders from before the start are ours to ship from now on: the named ones, or all that wait."""

    order_ids: list[str] = []
    everything: bool = False


class HoldReason(Enum):
    """The reasons to wait that a person may waive (fulfillment.eligibility.WAIVABLE)."""

    BUYER_ASKS_TO_CANCEL = BUYER_ASKS_TO_CANCEL
    TRANSPARENCY_CODES = TRANSPARENCY_CODES
    REGULATED = REGULATED
    DOSAGE_LABEL = DOSAGE_LABEL


class WaivedBecause(Enum):
    """Why a person decided so: the word that the audit log keeps."""

    BUYER_WITHDREW = "buyer_withdrew_the_request"
    CODES_ARE_ATTACHED = "codes_are_attached"
    CHECKED_BY_US = "checked_by_us"
    ALREADY_PACKED = "already_packed"
    DECIDED_BY_MISTAKE = "decided_by_mistake"


class WaiveConfig(dg.Config):
    """Which order ships in spite of which reasons to wait, and why. No reasons: the decision is taken back."""

    order_id: str
    reasons: list[HoldReason]
    why: WaivedBecause
    ticket: int | None = Field(None, description="The number of the ticket in which the story stands, if there is one.")


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
        raise dg.Failure(
            description=f"No account has this order yet. {error} `orders-pipeline` takes --account.",
            allow_retries=False,
        ) from error


def _by_account(store: StoreResource, order_ids: Sequence[str]) -> dict[ServedAccount, list[str]]:
    """The orders of each account; without orders, every account."""
    found: dict[ServedAccount, list[str]] = {} if order_ids else {one: [] for one in store.accounts()}
    for order_id in map(_order_id, order_ids):
        found.setdefault(_account_of(store, order_id), []).append(order_id)
    return found


class RequestedBy(Enum):
    """Whose request it is."""

    BUYER = "buyer"
    AMAZON = "amazon"
    SELLER = "seller"


class EraseConfig(dg.Config):
    """Whose data to erase: one order's. A whole seller's is for the command line alone (`erase --seller`)."""

    order_id: str
    requested_by: RequestedBy


class ErasedByHandConfig(dg.Config):
    """The order whose buyer the warehouse has erased, because a person had it done."""

    order_id: str


@dg.op(out=dg.Out(dg.Nothing))
def erase_buyers_data(context: dg.OpExecutionContext, config: EraseConfig, store: StoreResource) -> None:
    """Forget who bought: here, at the warehouse, and in every backup's reach. Red: it is gone on with nightly."""
    order_id = _order_id(config.order_id)
    account = _account_of(store, order_id)
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


@dg.job(name="erase")
def erase_job() -> None:
    """Forget one buyer, because Amazon, the buyer or the seller asked."""
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


@dg.job(name="erased_by_hand")
def erased_by_hand_job() -> None:
    """A person says that the warehouse has erased one buyer (alert erase.by_hand)."""
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


@dg.job(name="waive_hold")
def waive_hold_job() -> None:
    """Ship an order that waits, in spite of its reason: a person's decision, in the audit log."""
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
    """Have Amazon deliver ORDER_CHANGE to the queue; running it again changes nothing."""
    context.add_output_metadata(as_metadata(serve_accounts(context, store.accounts(), subscribe_account)))
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
            adopted = adopt_in_accounts(store.deployment(), config.order_ids, everything=config.everything)
    except (OrdersNotAdopted, UnknownAccount) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    context.add_output_metadata(adopted)


@dg.op(out=dg.Out(dg.Nothing))
def rotate_key_encryption_key(context: dg.OpExecutionContext, store: StoreResource) -> None:
    """A new key-encryption key, everything under it, the older ones destroyed; resumable, while the pipeline runs."""
    with acting_as(actor_of(context)):
        rotation = rotate_keys(
            store.database(), store.vault().keys, store.audit(), purpose="keys rotate", notify=context.log.info
        )
    context.add_output_metadata({"rewrapped": rotation.rewrapped, "complete": rotation.complete})


@dg.job(name="rotate_keys")
def rotate_keys_job() -> None:
    """Rotate the key-encryption key, as `orders-pipeline keys rotate` does."""
    rotate_key_encryption_key()


@dg.job(name="doctor")
def doctor() -> None:
    """Is everything there that the pipeline needs? Red tells what to do."""
    examine_deployment()


@dg.job(name="subscribe")
def subscribe() -> None:
    """Have Amazon deliver order changes to the queue."""
    subscribe_to_order_changes()


@dg.job(name="replay_parked")
def replay_parked_job() -> None:
    """Give parked orders another chance: by id, by stage, or all."""
    replay_parked_orders()


@dg.job(name="recover_order")
def recover_order_job() -> None:
    """Fetch any order by its id, known or not, and bring it into line."""
    recover_one_order()


@dg.job(name="adopt_orders")
def adopt_orders_job() -> None:
    """Ship orders that were purchased before the start. First make sure that no other process ships them."""
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

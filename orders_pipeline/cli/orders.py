"""Commands about orders and their buyers."""

from __future__ import annotations

import click

from orders_pipeline.cli.terminal import refuse, say, with_plain_errors
from orders_pipeline.model.untrusted_text import escaped
from orders_pipeline.operations.adopt import adopt_in_accounts, orders_to_adopt
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.operations.replay import recover_order, replay_parked
from orders_pipeline.privacy.erasure.erasure import erase as run_erasure
from orders_pipeline.privacy.erasure.warehouse_erasure import note_erased_by_hand
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.shipping_details import SHIPPING_DETAILS, shipping_details_from_bytes
from orders_pipeline.work.tally import Tally

account_option = click.option("--account", help="Whose: needed where several accounts are served and it is not clear.")


@click.command()
@click.argument("order_ids", nargs=-1)
@click.option("--reason", help="Only orders that were set aside for a reason that holds this text.")
@with_plain_errors
def replay(order_ids: tuple[str, ...], reason: str | None) -> None:
    """Give parked orders another chance: those named, or all."""
    deployment = Deployment(load_settings())
    tally = Tally()
    for account, named in deployment.by_account(order_ids):
        tally += replay_parked(
            account.database, account.audit, account_id=account.account_id, order_ids=named, reason=reason
        )
    orders, packages = (tally.outcomes.get(name, 0) for name in ("orders", "packages"))
    say(f"{orders} orders and {packages} packages are due again.")


@click.command()
@click.argument("order_id")
@account_option
@with_plain_errors
def recover(order_id: str, account: str | None) -> None:
    """Fetch any order by its id, known or not, and bring it into line."""
    deployment = Deployment(load_settings())
    account_id = deployment.account_of(order_id, account).account_id
    recover_order(deployment.database, deployment.audit, account_id=account_id, order_id=order_id)
    say(f"Order {order_id} is looked at by the next run.")


@click.command()
@click.argument("order_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every order that waits to be adopted.")
@account_option
@with_plain_errors
def adopt(order_ids: tuple[str, ...], everything: bool, account: str | None) -> None:
    """Ship orders that were purchased before the start: those named, or all that wait. Without either, list them.

    First make sure that no other process ships them.
    """
    deployment = Deployment(load_settings())
    served = deployment.accounts() if account is None else (deployment.account(account),)
    if not order_ids and not everything:
        waiting = [row for one in served for row in orders_to_adopt(one.database, account_id=one.account_id)]
        for row in waiting:
            ship_by = f", ship by {row.ship_by:%Y-%m-%d %H:%MZ}" if row.ship_by else ""
            say(f"{row.order_id}: {row.status}, purchased {row.purchased_at:%Y-%m-%d %H:%MZ}{ship_by}")
        say(f"{len(waiting)} orders from before the start wait to be adopted.")
        return
    counts = adopt_in_accounts(deployment, order_ids, everything=everything, account_id=account)
    say(f"{counts['adopted']} orders are ours from now on; {counts['adopted_before']} were already.")


@click.command()
@click.argument("order_id")
@click.option("--reason", required=True, help="Why you read it: kept in the audit log with your name.")
@with_plain_errors
def reveal(order_id: str, reason: str) -> None:
    """Show where one order goes, after writing who read it and why into the audit log."""
    deployment = Deployment(load_settings())
    content = deployment.vault.reveal(
        account_id=deployment.account_of(order_id).account_id,
        kind=SHIPPING_DETAILS,
        subject_id=order_id,
        purpose=reason,
    )
    details = shipping_details_from_bytes(content)
    # Straight to the terminal, past every log; with nothing in it that a terminal would obey.
    for name, value in details.plain():
        click.echo(f"{name}: {escaped(value)}")


@click.command()
@click.argument("order_id", required=False)
@click.option("--seller", is_flag=True, help="Every buyer of the whole seller, instead of one order's.")
@click.option("--everything", is_flag=True, help="With --seller: what identifies nobody as well (the seller has left).")
@click.option("--erased-by-hand", is_flag=True, help="Only note that the warehouse has erased this order's buyer.")
@click.option("--reason", required=True, help="Whose request it is: kept in the audit log.")
@account_option
@with_plain_errors
def erase(
    order_id: str | None, seller: bool, everything: bool, erased_by_hand: bool, reason: str, account: str | None
) -> None:
    """Forget who bought: here, at the warehouse, and in every backup's reach."""
    if bool(order_id) == seller or (seller and erased_by_hand):
        refuse("name one order, or --seller")
    deployment = Deployment(load_settings())
    served = deployment.stored_account_of(order_id, account)
    if order_id and erased_by_hand:
        owed = note_erased_by_hand(
            deployment.database, deployment.audit, account_id=served.account_id, order_id=order_id, reason=reason
        )
        say(f"Order {order_id}: {'noted' if owed else 'the warehouse owed no erasure of it'}.")
        return
    totals = run_erasure(
        deployment.database,
        deployment.vault,
        deployment.warehouse_or_none(),
        account_id=served.account_id,
        order_id=order_id,
        reason=reason,
        everything=everything,
    )
    for name, value in totals.as_metadata().items():
        say(f"{name}: {value}")
    if not totals.complete:
        refuse("not all of it is done yet: the daily retention goes on; look at the check erased_within_the_day")

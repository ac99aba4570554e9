"""`orders-pipeline accounts`: every account of the settings, whether it is served, and whether it can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orders_pipeline.amazon_settings import AmazonSettings, WrongAccount
from orders_pipeline.operations.accounts import serve_each
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.operations.doctor import examine_account
from orders_pipeline.settings import Settings

# Each waits for Amazon and SQS.
CHECKED_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class ListedAccount:
    """One account as a person is told of it. `token_in`: where its refresh token is. It is right without `todo`."""

    account_id: str
    seller_id: str = "?"
    region: str = "?"
    marketplace_ids: tuple[str, ...] = ()
    queue_url: str = "?"
    token_in: str = "?"  # noqa: S105 - a place
    todo: tuple[str, ...] = ()


def list_accounts(settings: Settings) -> list[ListedAccount]:
    """From the settings alone: those that are served, then those that cannot be. Raises SettingsError if none is."""
    served = [_listed(one) for one in settings.accounts_of_file or ()]
    wrong = [_wrong(one) for one in settings.wrong_accounts]
    return [*served, *wrong] or [_listed(one) for one in settings.amazon_accounts()]


def check_accounts(deployment: Deployment) -> list[ListedAccount]:
    """As `list_accounts`, and each that is served has asked its queue and Amazon, as doctor does."""
    accounts = {one.account_id: one for one in list_accounts(deployment.settings)}
    right = [one for one in accounts.values() if not one.todo]
    found = serve_each(deployment.accounts() if right else (), examine_account, at_once=CHECKED_AT_ONCE)
    for account_id, results in found.results.items():
        todo = [f"{one.subject}: {one.detail} → {one.what_to_do}" for one in results if not one.ok]
        accounts[account_id] = _with(accounts[account_id], todo)
    for account_id, defect in found.defects.items():
        accounts[account_id] = _with(accounts[account_id], [defect])
    return list(accounts.values())


def _listed(settings: AmazonSettings) -> ListedAccount:
    token_in = "the vault" if settings.refresh_token is None else settings.token_name or "AMAZON_LWA_REFRESH_TOKEN"
    return ListedAccount(
        settings.account_id,
        settings.seller_id,
        settings.region,
        settings.marketplace_ids,
        settings.queue_url,
        token_in,
    )


def _wrong(account: WrongAccount) -> ListedAccount:
    return ListedAccount(account.name, todo=account.problems)


def _with(account: ListedAccount, todo: Sequence[str]) -> ListedAccount:
    return ListedAccount(
        account.account_id, account.seller_id, account.region, account.marketplace_ids, account.queue_url,
        account.token_in, (*account.todo, *todo),
    )  # fmt: skip

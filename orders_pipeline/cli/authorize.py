"""The command that has a seller authorize an account."""

from __future__ import annotations

import sys

import click

from orders_pipeline.accounts_file import STORED
from orders_pipeline.audit.log import current_actor
from orders_pipeline.cli.terminal import refuse, say, with_plain_errors
from orders_pipeline.operations.authorize import (
    CALLBACK_PATH,
    AccountAuthorization,
    ConsentRefused,
    account_authorizations,
    begin_consent,
    exchange_typed_code,
    finish_consent,
    roles_changed,
    take_consent,
    take_typed_token,
    typed_return,
)
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.operations.revocation import not_revoked as say_not_revoked
from orders_pipeline.settings import load_settings


@click.command()
@click.argument("account", required=False)
@click.option("--consent-url", is_flag=True, help="Print Amazon's consent page; what it answers is for --code-from.")
@click.option("--code-from", help="-: read the address that Amazon led to, or its code alone, from standard input.")
@click.option("--refresh-token-from", help="-: read a self-authorization's refresh token from standard input.")
@click.option("--not-revoked", metavar="REASON", help="A refusal is no revocation: keep buyers' data for seven days.")
@click.option("--roles-changed", "roles", is_flag=True, help="The application's roles changed: all accounts are due.")
@with_plain_errors
def authorize(
    account: str | None,
    consent_url: bool,
    code_from: str | None,
    refresh_token_from: str | None,
    not_revoked: str | None,
    roles: bool,
) -> None:
    """Have a seller authorize ACCOUNT; without options, say how each account stands and where it is done.

    A code or a token is typed, never an argument: a shell's history keeps those.
    """
    deployment = Deployment(load_settings())
    if sum((consent_url, bool(code_from), bool(refresh_token_from), bool(not_revoked), roles)) > 1:
        refuse("give one of these options at a time")
    if any(given not in (None, "-") for given in (code_from, refresh_token_from)):
        refuse("a code or a token is read from standard input alone: write -")
    if roles:
        say(f"{roles_changed(deployment)} accounts are to be authorized again.")
    elif not_revoked:
        kept = say_not_revoked(deployment.account(account), not_revoked)
        say(f"The data of the buyers of account {kept.account_id} are kept until {kept.kept_until:%Y-%m-%d %H:%M} UTC.")
    elif consent_url:
        _print_consent_url(deployment, account)
    elif code_from:
        _take_code(deployment, account)
    elif refresh_token_from:
        served = deployment.account(account)
        take_typed_token(served, _read("Refresh token"), actor=current_actor())
        _say_authorized(served)
    else:
        _tell(deployment, account)


def _tell(deployment: Deployment, account: str | None) -> None:
    named = account_authorizations(deployment)
    for one in named if account is None else [_of(named, deployment.account(account).account_id)]:
        say(f"{one.account_id} (seller {one.seller_id}): {one.words}.")
    base = deployment.settings.alerts.ui_url or "http://127.0.0.1:3000"
    say(f"A supervisor has a seller authorize an account at {base}/authorize")


def _of(named: list[AccountAuthorization], account_id: str) -> AccountAuthorization:
    return next(one for one in named if one.account_id == account_id)


def _print_consent_url(deployment: Deployment, account: str | None) -> None:
    ui_url = deployment.settings.alerts.ui_url
    if ui_url is None:
        refuse(
            "set ORDERS_UI_URL: Amazon leads the seller back to an address below it, which the application registers"
        )
    url = begin_consent(
        deployment.account(account),
        asked_by=current_actor(),
        redirect_uri=f"{ui_url}{CALLBACK_PATH}",
        session_id=None,
        browser=None,
    )
    say(url)
    say("Open it as the account's seller; within ten minutes, give the address that Amazon leads to to --code-from -")


def _take_code(deployment: Deployment, account: str | None) -> None:
    try:
        returned = typed_return(_read("Address or code"))
        if isinstance(returned, str):
            served = deployment.account(account)
            redirect_uri = f"{deployment.settings.alerts.ui_url or ''}{CALLBACK_PATH}"
            exchange_typed_code(served, returned, redirect_uri, actor=current_actor())
            _say_authorized(served)
        else:
            # Whose it is, its state says.
            _say_authorized(finish_consent(deployment, take_consent(deployment, returned, None), returned))
    except ConsentRefused as refused:
        refuse(str(refused.__cause__ or refused))


def _say_authorized(served: ServedAccount) -> None:
    say(f"Account {served.account_id} is authorized; its refresh token is sealed in the vault.")
    if served.settings.refresh_token is not None:
        say(f"The settings have a refresh token of their own: set it to `{STORED}`, and the sealed one is used.")


def _read(what: str) -> str:
    """One line, not echoed at a terminal."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip()

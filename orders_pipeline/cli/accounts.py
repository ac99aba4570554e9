"""The command that lists the accounts."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.table import Table

from orders_pipeline.cli.terminal import out, say, with_plain_errors
from orders_pipeline.model.untrusted_text import escaped
from orders_pipeline.operations.account_list import check_accounts, list_accounts
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.settings import load_settings

_WIDE = 400


@click.command()
@click.option("--check", is_flag=True, help="Ask each account's queue and Amazon too, as doctor does.")
@with_plain_errors
def accounts(check: bool) -> None:
    """List the accounts and what each still needs; the exit code is 1 unless every one is ok.

    A new file is looked at before it is put in its place: AMAZON_ACCOUNTS_FILE=new.yaml orders-pipeline accounts
    """
    settings = load_settings()
    settings.require_usable()
    listed = check_accounts(Deployment(settings)) if check else list_accounts(settings)
    table = Table("account", "seller", "region", "marketplaces", "queue", "token in", "")
    for one in listed:
        cells = (one.account_id, one.seller_id, one.region, ", ".join(one.marketplace_ids), one.queue_url, one.token_in)
        state = "[bold red]todo[/]" if one.todo else "[green]ok[/]"
        # Names are of people's files: they are no markup.
        table.add_row(*(escaped(cell).replace("[", r"\[") for cell in cells), state)
    # What is no terminal, such as a pipe, has no width: nothing is folded there.
    Console(width=None if out.is_terminal else _WIDE).print(table)
    for one in listed:
        for problem in one.todo:
            say(f"{one.account_id}: {problem}")
    sys.exit(1 if any(one.todo for one in listed) else 0)

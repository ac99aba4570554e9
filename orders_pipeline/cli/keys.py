"""Commands about the keys that wrap the data keys."""

from __future__ import annotations

import click

from orders_pipeline.cli.terminal import refuse, say, warn, with_plain_errors
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.settings import load_settings
from orders_pipeline.vault.rotation import replace_lost_keyring, rotate_keys


@click.group()
def keys() -> None:
    """The keys that the buyers' data is encrypted under."""


@keys.command("rotate")
@with_plain_errors
def keys_rotate() -> None:
    """Make a new key-encryption key, put everything under it, destroy the older ones; the pipeline may run on."""
    deployment = Deployment(load_settings())
    rotation = rotate_keys(
        deployment.database, deployment.vault.keys, deployment.audit, purpose="keys rotate", notify=warn
    )
    say(f"Current key {rotation.key_id}; {rotation.rewrapped} data keys re-wrapped.")
    if not rotation.complete:
        refuse("some older keys are still in use: run it again")


@keys.command("replace-lost")
@click.confirmation_option(prompt="What the lost keyring wrapped can never be opened again. Is it lost for good?")
@with_plain_errors
def keys_replace_lost() -> None:
    """Make a new keyring where the old one is lost for good; what is needed is asked of Amazon anew."""
    deployment = Deployment(load_settings())
    key_id = replace_lost_keyring(deployment.database, deployment.vault)
    say(f"Current key {key_id}. Addresses that are still needed are fetched again before their push.")


@keys.command("list")
@with_plain_errors
def keys_list() -> None:
    """Show the key ids, the current one first, and how many records each still opens."""
    deployment = Deployment(load_settings())
    with deployment.database.begin() as connection:
        uses = deployment.vault.key_uses(connection)
    for key_id in deployment.vault.keys.key_ids():
        use = uses.get(key_id)
        say(f"{key_id}: {use.records if use else 0} records")

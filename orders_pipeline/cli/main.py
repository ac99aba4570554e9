"""The command `orders-pipeline`: one-off work, typed by a person."""

from __future__ import annotations

import click

from orders_pipeline.cli import accounts, audit, authorize, client_secret, deployment, keys, orders


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orders-pipeline")
def main() -> None:
    """Keeps a merchant's own fulfillment in step with Amazon. Settings come from the environment and .env."""


for command in (
    deployment.up, deployment.web, deployment.web_user, deployment.migrate, deployment.doctor, deployment.subscribe,
    accounts.accounts, authorize.authorize, orders.replay, orders.recover, orders.adopt, orders.reveal, orders.erase,
    keys.keys, client_secret.client_secret, audit.audit,
):  # fmt: skip
    main.add_command(command)

"""Commands about the Login with Amazon client secret."""

from __future__ import annotations

import click

from orders_pipeline.cli.terminal import say, with_plain_errors
from orders_pipeline.operations.client_secret_rotation import rotate_client_secret, take_client_secrets
from orders_pipeline.operations.deployment import Deployment
from orders_pipeline.settings import load_settings


@click.group("client-secret")
def client_secret() -> None:
    """The application's client secret, where Amazon rotates it (AMAZON_ROTATION_QUEUE_URL)."""


@client_secret.command("rotate")
@click.argument("account", required=False)
@with_plain_errors
def client_secret_rotate(account: str | None) -> None:
    """Have Amazon make a new secret for the application of ACCOUNT; the old one works for some days more."""
    rotate_client_secret(Deployment(load_settings()).account(account))
    say("Amazon sends a new secret to the queue: `orders-pipeline client-secret receive` takes it, and so does the job")
    say("receive_client_secrets by itself. The secret in use works for some days more.")


@client_secret.command("receive")
@with_plain_errors
def client_secret_receive() -> None:
    """Take what the queue holds: new secrets are sealed, then their messages are deleted."""
    taken = take_client_secrets(Deployment(load_settings()), wait_seconds=5)
    for name, value in taken.as_metadata().items():
        say(f"{name}: {value}")

"""Authorizations and client secrets in Dagster.

An account whose seller took its authorization back ends, and its buyers' data go within the day. A new client secret is
asked for by hand, and taken from its queue by itself.
"""

import dagster as dg

from orders_pipeline.audit.log import acting_as
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.defs.accounts import as_metadata, fail_on_defects, serve_accounts
from orders_pipeline.defs.actors import actor_of
from orders_pipeline.defs.guide import DESTROYS, described, described_plainly, link
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.intake.queue import QueueUnavailable
from orders_pipeline.operations.client_secret_rotation import rotate_client_secret, secrets_wait, take_client_secrets
from orders_pipeline.operations.overdue import AUTHORIZATIONS, CLIENT_SECRETS
from orders_pipeline.operations.revocation import Looked, accounts_to_look_at, look_at_authorization
from orders_pipeline.privacy import rules
from orders_pipeline.settings import SettingsError


@dg.op(out=dg.Out(dg.Nothing))
def end_revoked_authorizations(context: dg.OpExecutionContext, store: StoreResource) -> None:
    """Ask Login with Amazon again about what it refuses, and destroy the buyers' data of an account that has ended."""
    served = serve_accounts(context, store.accounts(), look_at_authorization)
    if not served.defects:
        store.deployment().note_done(AUTHORIZATIONS)
    context.add_output_metadata(as_metadata(served.map(Looked.as_numbers)))
    fail_on_defects(context)


@dg.job(
    name="end_revoked",
    tags=DESTROYS,
    description=described(
        "⚠ Destroys the buyers' data of an account whose authorization its seller took back.\n\nOnly where Login "
        "with Amazon has refused for twelve hours a token that worked before, and refuses it once more now. Every ten "
        "minutes by itself while any is refused; safe to start by hand.",
        red="Authorization",
        rule=f"{rules.DELETION} ({link('when a refusal counts', 'decisions/38-when-a-refusal-is-a-revocation.md')}).",
    ),
)
def look_at_authorizations_job() -> None:
    end_revoked_authorizations()


@dg.schedule(
    job=look_at_authorizations_job,
    cron_schedule="*/10 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=described_plainly(
        "Every ten minutes: asks for a run of `end_revoked` while Login with Amazon refuses an authorization that "
        "worked before.",
        red="Work that did not start",
        rule=f"{rules.DELETION} ({link('when a refusal counts', 'decisions/38-when-a-refusal-is-a-revocation.md')}).",
    ),
)
def frequent_authorization_looks(store: StoreResource) -> dg.RunRequest | dg.SkipReason:
    try:
        waiting = accounts_to_look_at(store.deployment())
    except (SettingsError, EmbeddedPostgresError) as error:
        return dg.SkipReason(str(error))
    if not waiting:
        # Then to have looked is all the work.
        store.deployment().note_done(AUTHORIZATIONS)
    return dg.RunRequest() if waiting else dg.SkipReason("Login with Amazon refuses no authorization.")


@dg.op(out=dg.Out(dg.Nothing))
def take_new_client_secrets(context: dg.OpExecutionContext, store: StoreResource) -> None:
    """Seal each new client secret that the queue brings, then delete its message."""
    with acting_as(actor_of(context)):
        taken = take_client_secrets(store.deployment())
    store.deployment().note_done(CLIENT_SECRETS)
    context.add_output_metadata(taken.as_metadata())


@dg.job(
    name="receive_client_secrets",
    description=described(
        "Takes new client secrets from their queue, and notices that one ends.\n\nSealed in the vault, they are used "
        "from then on. Every ten minutes by itself while the queue holds anything; safe to start by hand.",
        red="Client secret",
        rule=f"{rules.CREDENTIALS}.",
    ),
)
def receive_client_secrets_job() -> None:
    take_new_client_secrets()


@dg.op(out=dg.Out(dg.Nothing))
def ask_for_new_client_secrets(context: dg.OpExecutionContext, store: StoreResource) -> None:
    """Ask Amazon for a new client secret of each application."""
    applications = {account.settings.client_id: account for account in store.accounts()}
    serve_accounts(context, list(applications.values()), rotate_client_secret)
    fail_on_defects(context)


@dg.job(
    name="rotate_client_secret",
    description=described(
        "Has Amazon make a new client secret, and send it to its queue.\n\nOnly where AMAZON_ROTATION_QUEUE_URL names "
        "that queue. The secret in use works for some days more; the new one is taken by `receive_client_secrets`.",
        red="Client secret",
        rule=f"{rules.CREDENTIALS}.",
    ),
)
def rotate_client_secret_job() -> None:
    ask_for_new_client_secrets()


@dg.schedule(
    job=receive_client_secrets_job,
    cron_schedule="*/10 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=described_plainly(
        "Every ten minutes: asks for a run of `receive_client_secrets` while their queue holds anything.\n\nWithout "
        "AMAZON_ROTATION_QUEUE_URL it asks nobody.",
        red="Client secret",
        rule=f"{rules.CREDENTIALS}.",
    ),
)
def frequent_client_secrets(store: StoreResource) -> dg.RunRequest | dg.SkipReason:
    try:
        waits = secrets_wait(store.deployment())
    except (SettingsError, EmbeddedPostgresError, QueueUnavailable) as error:
        return dg.SkipReason(str(error))
    if not waits:
        store.deployment().note_done(CLIENT_SECRETS)
    return dg.RunRequest() if waits else dg.SkipReason("No client secret waits to be taken.")

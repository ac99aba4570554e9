"""Authorizations in Dagster: an account whose seller took it back ends, and its buyers' data go within the day."""

import dagster as dg

from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.defs.accounts import as_metadata, fail_on_defects, serve_accounts
from orders_pipeline.defs.guide import DESTROYS, described, described_plainly, link
from orders_pipeline.defs.resources import StoreResource
from orders_pipeline.operations.overdue import AUTHORIZATIONS
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

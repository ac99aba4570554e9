"""The dead man's switch: an URL outside is called while all is well, and who watches it is told when no call comes."""

from __future__ import annotations

import logging
from datetime import timedelta

from pydantic import SecretStr

from orders_pipeline.database.engine import Database
from orders_pipeline.http.replies import NoReply, exchange
from orders_pipeline.http.sessions import open_session
from orders_pipeline.operations.alerting.rows import HEARTBEAT, lease_channel, note_failure, return_channel

HEARTBEAT_SECONDS = 5.0
LARGEST_ANSWER_BYTES = 64 * 1024
# By all daemons together.
AT_MOST_EVERY = timedelta(minutes=1)

logger = logging.getLogger(__name__)


def call_heartbeat(database: Database, url: SecretStr) -> str | None:
    """Call it, unless it was called within the last minute, by whomever; why it failed, or None."""
    with database.begin() as connection:
        if lease_channel(connection, HEARTBEAT, leave_for=AT_MOST_EVERY) is None:
            return None
    failure = _call(url)
    with database.begin() as connection:
        if failure is None:
            return_channel(connection, HEARTBEAT, has_delivered=True)
        else:
            note_failure(connection, HEARTBEAT, failure, AT_MOST_EVERY)
    if failure is not None:
        logger.warning("The heartbeat was not taken: %s. It is called again in a minute.", failure)
    return failure


def _call(url: SecretStr) -> str | None:
    try:
        with open_session() as session:
            reply = exchange(
                session,
                "GET",
                url.get_secret_value(),
                timeouts=(HEARTBEAT_SECONDS, HEARTBEAT_SECONDS),
                total_seconds=HEARTBEAT_SECONDS,
                largest_bytes=LARGEST_ANSWER_BYTES,
            )
    except NoReply as error:
        return f"ORDERS_HEARTBEAT_URL could not be reached ({error})"
    if reply.redirect is not None:
        return f"ORDERS_HEARTBEAT_URL answered {reply.status}, a redirect to {reply.redirect}, which is not followed"
    return None if 200 <= reply.status < 300 else f"ORDERS_HEARTBEAT_URL answered {reply.status}"

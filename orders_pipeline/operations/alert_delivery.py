"""Tell people what needs them: once each, in the log, and in Slack where a webhook is set.

An alert holds no buyer's data when it is stored; the log filter looks at it once more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from pydantic import SecretStr

from orders_pipeline.alerts.rows import claim_undelivered_alert, mark_alert_delivered, put_back_undelivered_alert
from orders_pipeline.audit.redaction import redact
from orders_pipeline.database.engine import AnyRow, Database
from orders_pipeline.http.replies import NoReply, exchange
from orders_pipeline.http.sessions import open_session
from orders_pipeline.model.untrusted_text import escaped

# From the connection to the last byte; Slack answers "ok".
SLACK_SECONDS = 10.0
LARGEST_ANSWER_BYTES = 64 * 1024
# A storm of alerts is delivered over several calls: Slack takes about one message a second.
ALERTS_A_CALL = 20
# One alert may be refused for its own sake; two in a row mean that Slack takes none.
REFUSED_IN_A_ROW = 2
# Longer than the two messages that one alert may take; a process that died gives its alert back after it.
LEASE = timedelta(minutes=1)
# A webhook that is gone or forbidden answers otherwise (403, 404, 410).
_REFUSES_THE_TEXT = (400, 413, 422)
REFUSED_TEXT = "[error] An alert has a text that Slack does not take. It is on the order board, and in the log."
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING}

logger = logging.getLogger("orders_pipeline.alerts")


class AlertNotDelivered(Exception):
    """Slack refused or did not answer; the alert stays on the board, and is sent again."""


def deliver_alerts(
    database: Database,
    *,
    account_id: str,
    slack_webhook_url: SecretStr | None,
    budget_seconds: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Deliver what nobody has been told of; how many. The last is begun within the budget.

    An alert that Slack refuses is due again behind the others. Raises AlertNotDelivered for the last such one, after
    the others of this call are delivered.
    """
    delivered, tried, in_a_row = 0, 0, 0
    refused: list[AnyRow] = []
    refusal: AlertNotDelivered | None = None
    started = clock()
    while tried < ALERTS_A_CALL and in_a_row < REFUSED_IN_A_ROW:
        if tried and clock() - started >= budget_seconds:
            break
        with database.transaction(account_id) as tx:
            alert = claim_undelivered_alert(tx, lease=LEASE)
        if alert is None:
            break
        tried += 1
        try:
            _deliver(alert, slack_webhook_url)
        except AlertNotDelivered as error:
            refusal = error
            in_a_row += 1
            # Its lease lasts until the end of this call, which therefore does not try it a second time.
            refused.append(alert)
            continue
        in_a_row = 0
        delivered += 1
        with database.begin() as connection:
            mark_alert_delivered(connection, alert)
    with database.begin() as connection:
        for alert in refused:
            put_back_undelivered_alert(connection, alert)
    if refusal is not None:
        raise refusal
    return delivered


def _deliver(alert: AnyRow, slack_webhook_url: SecretStr | None) -> None:
    text = _text(alert)
    if slack_webhook_url is not None:
        _post_to_slack(slack_webhook_url, text)
    logger.log(_LEVELS.get(alert.severity, logging.INFO), "%s", text)


def _text(alert: AnyRow) -> str:
    # Cleaned when it was raised; an earlier release stored alerts as they were.
    return escaped(redact(f"[{alert.severity}] {alert.message} What to do: {alert.what_to_do}"))


def _slack_message(text: str) -> dict[str, str | bool]:
    """Text that Slack shows and nothing else: it calls nobody, formats nothing, and is no link.

    Parts of it were written by a warehouse or by Amazon. `<`, `>` and `&` are Slack's own markup.
    """
    shown = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("://", "[:]//")
    return {"text": shown, "mrkdwn": False, "link_names": False, "unfurl_links": False, "unfurl_media": False}


def _post_to_slack(url: SecretStr, text: str) -> None:
    status = _post(url, text)
    if status in _REFUSES_THE_TEXT:
        # This one text's fault: the alerts behind it must not wait for it for ever.
        status = _post(url, REFUSED_TEXT)
    if not 200 <= status < 300:
        raise AlertNotDelivered(f"Slack answered {status}: check SLACK_WEBHOOK_URL; it is tried again.")


def _post(url: SecretStr, text: str) -> int:
    try:
        with open_session() as session:
            reply = exchange(
                session,
                "POST",
                url.get_secret_value(),
                json_body=_slack_message(text),
                timeouts=(SLACK_SECONDS, SLACK_SECONDS),
                total_seconds=SLACK_SECONDS,
                largest_bytes=LARGEST_ANSWER_BYTES,
            )
    except NoReply as error:
        raise AlertNotDelivered(f"Slack could not be reached ({error}); it is tried again.") from None
    if (host := reply.redirect) is not None:
        raise AlertNotDelivered(
            f"Slack answered {reply.status}, a redirect to {host}, which is not followed: check SLACK_WEBHOOK_URL."
        )
    return reply.status

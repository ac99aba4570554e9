"""What each failure of the Reports API means for the report that is wanted, and for the others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from orders_pipeline.channels.amazon.auth.login import OPERATION as LOGIN
from orders_pipeline.channels.amazon.errors import (
    AmazonAuthError,
    AmazonBadRequest,
    AmazonError,
    AmazonNotFound,
    AmazonProtocolError,
    AmazonThrottled,
    LimitNotBefore,
)
from orders_pipeline.channels.amazon.failures import THROTTLED_POLICY
from orders_pipeline.reports.document import ReportUnreadable
from orders_pipeline.work.failures import Does, FailureRule, FailureTable
from orders_pipeline.work.jobs import AMAZON_REPORTS
from orders_pipeline.work.retry import Policy

# A report that does not come is the alert report.late; its job is never parked for it.
REPORT_POLICY = Policy(first=timedelta(seconds=30), longest=timedelta(minutes=30), attempts=None)
# Another download mends what broke on the way; what is broken at Amazon stays so.
DOCUMENT_POLICY = Policy(first=timedelta(seconds=30), longest=timedelta(minutes=10), attempts=None)
DOCUMENT_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRule(FailureRule):
    """As a rule of any port; `tries`: at so many failures in a row the report is given up. None: never."""

    tries: int | None = None


REPORT_FAILURES = FailureTable(
    heading="Asking Amazon for a report, and reading it",
    dependency=AMAZON_REPORTS,
    policy=REPORT_POLICY,
    rules=(
        ReportRule(
            LimitNotBefore,
            Does.NOT_BEFORE,
            "no quota is left within the deadline, or the breaker is open; nothing was sent",
            until=lambda error: error.not_before,
        ),
        ReportRule(
            AmazonError,
            Does.REFUSED_WHOLE,
            "no report can be read without a token; orders have a pause of their own",
            when="of Login with Amazon",
            applies=lambda error: error.operation == LOGIN,
        ),
        ReportRule(
            AmazonAuthError,
            Does.REFUSED_WHOLE,
            "the token or the role is refused, for every report; it holds up reports alone",
        ),
        ReportRule(
            AmazonThrottled,
            Does.RETRY,
            "429 although our bucket allowed it, after 4 tries within the call; the bucket was emptied and rests",
            policy=THROTTLED_POLICY,
        ),
        ReportRule(
            AmazonBadRequest,
            Does.GIVE_UP,
            "what was asked for is refused, and asking again cannot help",
        ),
        ReportRule(
            AmazonNotFound,
            Does.RETRY,
            "a report or document that Amazon no longer keeps: given up at failure 3",
            policy=DOCUMENT_POLICY,
            tries=DOCUMENT_TRIES,
        ),
        ReportRule(
            AmazonProtocolError,
            Does.RETRY,
            "not an answer of the model, or a document that is too large, a web page, or elsewhere than in Amazon's "
            "storage: given up at failure 3",
            policy=DOCUMENT_POLICY,
            tries=DOCUMENT_TRIES,
        ),
        ReportRule(
            ReportUnreadable,
            Does.RETRY,
            "a document that is cut off, or has not the columns: given up at failure 3",
            policy=DOCUMENT_POLICY,
            tries=DOCUMENT_TRIES,
        ),
        ReportRule(AmazonError, Does.RETRY, "500, 503 or no answer: reports are in no hurry", when="any other"),
    ),
)


def is_given_up(error: Exception, failures: int) -> bool:
    """Whether no report will come after this error, which is the `failures`-th in a row of its job."""
    rule = REPORT_FAILURES.rule_of(error)
    if not isinstance(rule, ReportRule):
        return False
    return rule.does is Does.GIVE_UP or (rule.tries is not None and failures >= rule.tries)

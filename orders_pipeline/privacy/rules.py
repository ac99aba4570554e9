"""The rules of Amazon's policy that `privacy` keeps, in words, each with where it is written.

Read on 2026-11-20.
"""

from __future__ import annotations

from enum import StrEnum

RETENTION = (
    'Data Protection Policy §2.1: PII is kept "no longer than 30 days after order delivery", and only as long as is '
    "necessary to fulfil orders"
)
NON_PII = "Data Protection Policy (Nov 2025): what identifies nobody is kept for 18 months at most"
DELETION = "Data Protection Policy §1.7: deleted within 30 days of Amazon's notice or of the end of an authorisation"
ENCRYPTION = "Data Protection Policy §2.4: PII is encrypted at rest with AES-128 or larger, the keys managed apart"
ACCESS_LOG = "Data Protection Policy §2.6: every access to PII is logged, without PII in the log"
LOG_RETENTION = "Data Protection Policy §2.6.1 (Nov 2025): logs are kept for at least 12 months"
LEAST_PRIVILEGE = "Data Protection Policy §1.2: access by least privilege, one identity each"
TRANSIT = "Data Protection Policy §1.5: TLS 1.2 or newer on every endpoint, internal ones too"
CREDENTIALS = "Login with Amazon: a client secret lives for 180 days; Data Protection Policy §1.4"
NO_COPIES = "Data Protection Policy §2.4, §2.6: no PII in clear at rest, none in logs"


class Rule(StrEnum):
    """Why data must go. The values are stored in the audit log and shown in metadata."""

    ERASURE_REQUESTED = "erasure_requested"
    CANCELLED = "cancelled"
    NOT_OURS_TO_SHIP = "not_ours_to_ship"
    ORDER_UNKNOWN = "order_unknown"
    VERIFIED = "verified"
    NEVER_PUSHED = "never_pushed"
    HELD = "held"
    HARD_LIMIT = "hard_limit"
    PARKED_MESSAGE = "parked_message"
    NON_PII = "non_pii"
    AUDIT_LOG = "audit_log"


WORDS: dict[Rule, str] = {
    Rule.ERASURE_REQUESTED: "Amazon or the buyer asked: at once",
    Rule.CANCELLED: "cancelled: at once",
    Rule.NOT_OURS_TO_SHIP: "Amazon ships it, or nobody can: at once",
    Rule.ORDER_UNKNOWN: "its order is not known here: at once",
    Rule.VERIFIED: "shipped, every package verified at Amazon, and 7 days past delivery",
    Rule.NEVER_PUSHED: "not taken by the warehouse by the end of its delivery window",
    Rule.HELD: "held until 30 days after its delivery window",
    Rule.HARD_LIMIT: "30 days after delivery, whatever is still open",
    Rule.PARKED_MESSAGE: "a message that was set aside two weeks ago, or replayed since",
    Rule.NON_PII: "bought, or received, 18 months ago",
    Rule.AUDIT_LOG: "an audit entry of 24 months ago",
}

SOURCES: dict[Rule, str] = {
    **dict.fromkeys(Rule, RETENTION),
    Rule.ERASURE_REQUESTED: DELETION,
    Rule.NON_PII: NON_PII,
    Rule.AUDIT_LOG: LOG_RETENTION,
}

"""The AWS region of a queue, from its URL."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# How AWS writes a queue's host: today, with IPv6, through a VPC endpoint, and in URLs from before 2011 that still work.
# https://docs.aws.amazon.com/general/latest/gr/sqs-service.html
_REGION = r"([a-z]{2}(?:-[a-z]+)+-\d+)"
_DOMAIN = r"(?:amazonaws\.com(?:\.cn)?|c2s\.ic\.gov|sc2s\.sgov\.gov)"
_QUEUE_HOSTS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"sqs(?:-fips)?\.{_REGION}\.{_DOMAIN}",
        rf"sqs(?:-fips)?\.{_REGION}\.api\.(?:aws|amazonwebservices\.com\.cn)",
        rf"[a-z0-9-]+\.sqs(?:-fips)?\.{_REGION}\.vpce\.{_DOMAIN}",
        rf"{_REGION}\.queue\.{_DOMAIN}",
    )
)
_OLDEST_HOST = re.compile(r"queue\.amazonaws\.com")


def region_of_queue(queue_url: str) -> str | None:
    """The AWS region that the queue's URL names; None where it names none, as behind an endpoint of one's own."""
    host = (urlsplit(queue_url).hostname or "").rstrip(".")
    if _OLDEST_HOST.fullmatch(host):
        return "us-east-1"
    return next((found[1] for pattern in _QUEUE_HOSTS if (found := pattern.fullmatch(host))), None)

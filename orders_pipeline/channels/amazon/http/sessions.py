"""HTTP sessions as both of Amazon's services want them: the user agent, the time-outs, the largest answer."""

from __future__ import annotations

import platform

import requests

from orders_pipeline.http.hosts import is_loopback
from orders_pipeline.http.sessions import open_session

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
POOL_SIZE = 16
# A page of a hundred orders with all their items is some hundred kilobytes.
LARGEST_ANSWER_BYTES = 10 * 1024 * 1024
# Amazon asks every caller to name application, version and language, in at most 500 characters.
USER_AGENT = f"orders_pipeline/0.1 (Language=Python/{platform.python_version()})"


def open_amazon_session(user_agent: str = USER_AGENT) -> requests.Session:
    return open_session(user_agent=user_agent, connections=POOL_SIZE)


def check_endpoint(url: str) -> str:
    """The URL without a trailing slash. Raises ValueError unless it is https, or http on this machine."""
    if not url.startswith("https://") and not (url.startswith("http://") and is_loopback(url)):
        raise ValueError(
            f"The endpoint {url} must be https (http is accepted on loopback only): a token would be readable."
        )
    return url.rstrip("/")

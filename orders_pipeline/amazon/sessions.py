"""HTTP sessions as both of Amazon's services want them.

Belongs here: pooling, TLS, the user agent, time-outs. Elsewhere: what is sent, and when it is sent again (transport,
login).
"""

from __future__ import annotations

import platform
import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

from orders_pipeline.settings import is_loopback

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
POOL_SIZE = 16
# Amazon asks every caller to name application, version and language, in at most 500 characters.
USER_AGENT = f"orders_pipeline/0.1 (Language=Python/{platform.python_version()})"


class _ModernTls(HTTPAdapter):
    """TLS 1.2 at least, as Amazon's data protection policy demands."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        kwargs["ssl_context"] = create_urllib3_context(ssl_minimum_version=ssl.TLSVersion.TLSv1_2)
        super().init_poolmanager(*args, **kwargs)


def open_session(user_agent: str = USER_AGENT) -> requests.Session:
    """A session that keeps connections open, retries nothing by itself, and remembers no cookies' worth of state."""
    session = requests.Session()
    adapter = _ModernTls(pool_connections=2, pool_maxsize=POOL_SIZE, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["User-Agent"] = user_agent
    session.headers["Accept"] = "application/json"
    return session


def check_endpoint(url: str) -> str:
    """The URL without a trailing slash. Raises ValueError unless it is https, or http on this machine."""
    if not url.startswith("https://") and not (url.startswith("http://") and is_loopback(url)):
        raise ValueError(
            f"The endpoint {url} must be https (http is accepted on loopback only): a token would be readable."
        )
    return url.rstrip("/")

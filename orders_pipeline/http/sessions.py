"""HTTP sessions: TLS 1.2 at least, no redirects, no cookies, no credentials of ~/.netrc.

Of the environment they take the certificates (`REQUESTS_CA_BUNDLE`) and a proxy for https (hosts.proxies_for).
"""

from __future__ import annotations

import os
import ssl
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util.ssl_ import create_urllib3_context

from orders_pipeline.http.bounds import POOLS


class _BoundedAdapter(HTTPAdapter):
    """Connections that keep to the bounds of an exchange (bounds), with TLS 1.2 at least."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        kwargs["ssl_context"] = create_urllib3_context(ssl_minimum_version=ssl.TLSVersion.TLSv1_2)
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: nothing is sent elsewhere. (For a redirect, requests would also read the body without a limit.)"""
        return None


def open_session(
    *, user_agent: str | None = None, auth: AuthBase | None = None, connections: int = 8
) -> requests.Session:
    """A session that keeps connections open and retries nothing by itself. Thread-safe."""
    session = _Session()
    # No proxy, no ~/.netrc: see hosts.proxies_for.
    session.trust_env = False
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _BoundedAdapter(pool_connections=2, pool_maxsize=connections, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.auth = auth
    if user_agent is not None:
        session.headers["User-Agent"] = user_agent
    session.headers["Accept"] = "application/json"
    # Only what replies can take apart under a limit.
    session.headers["Accept-Encoding"] = "gzip"
    return session

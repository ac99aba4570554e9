"""AWS clients by boto3, found by its own rules (region, credentials, `AWS_ENDPOINT_URL_…`), with time-outs of ours.

boto3 waits a minute to connect, a minute for each read, and tries five times: no sensor's tick lasts that long.
"""

from __future__ import annotations

from typing import Any

from orders_pipeline.http.hosts import has_one_reading, is_loopback


def aws_client(
    service: str,
    *,
    region: str | None = None,
    connect_seconds: float,
    read_seconds: float,
    attempts: int,
    connections: int = 10,
) -> Any:
    """A client of one service, which keeps so many `connections` open.

    Raises botocore's BotoCoreError: no region, say, or a profile that is not there.
    """
    import boto3  # 0.4 s: only who talks to AWS pays for it
    from botocore.config import Config
    from botocore.exceptions import InvalidConfigError

    config = Config(
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
    )
    # A session of its own: credentials that were renewed in a file are read anew.
    session: Any = boto3.session.Session()
    client = session.client(service, region_name=region, config=config)
    endpoint = client.meta.endpoint_url
    if not has_one_reading(endpoint) or not (endpoint.startswith("https://") or is_loopback(endpoint)):
        # From a profile: what the environment names has been refused by the settings.
        raise InvalidConfigError(error_msg=f"the endpoint of {service} must be https, or on this machine")
    if is_loopback(endpoint):
        # A proxy of the environment would be told the messages, and could answer in the endpoint's place.
        client = session.client(service, region_name=region, config=config.merge(Config(proxies={})))
    return client

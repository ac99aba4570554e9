"""What may leave this machine unencrypted: nothing.

Decided from the addresses alone, before anything connects: a password that was sent in clear cannot be taken back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import SecretStr

from orders_pipeline.http.hosts import has_one_reading, is_loopback

# "require" encrypts, but for whoever answers; "verify-ca" for whoever has any certificate of that authority.
VERIFIED = "verify-full"
ENCRYPTED = ("require", "verify-ca", VERIFIED)
TOO_OLD_TLS = ("TLSv1", "TLSv1.1")


# What a database's URL may say besides its address: libpq's options that lead nowhere else and weaken nothing that is
# not looked at here. Anything else is refused, psycopg2's `dsn` first: a whole connection string of its own.
# fmt: off
DATABASE_OPTIONS = frozenset((
    "host", "hostaddr", "port", "user", "password", "dbname", "service", "passfile", "client_encoding", "options",
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir", "sslsni", "sslcertmode",
    "sslnegotiation", "sslcompression", "ssl_min_protocol_version", "ssl_max_protocol_version", "channel_binding",
    "require_auth", "gssencmode", "connect_timeout", "tcp_user_timeout", "keepalives", "keepalives_idle",
    "keepalives_interval", "keepalives_count", "target_session_attrs", "load_balance_hosts", "application_name",
    "fallback_application_name",
))
# fmt: on


# Said of an address that has a backslash, a blank or somebody's name in it; without the address.
TWO_READINGS = "can be read in two ways: give it without backslashes, blanks, and a name or password before the host"


def unsafe_endpoints(values: Mapping[str, str]) -> list[str]:
    """What is wrong with boto3's endpoints (AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SQS, …): in clear, or ambiguous."""
    problems: list[str] = []
    for name, url in sorted(values.items()):
        if not name.startswith("AWS_ENDPOINT_URL") or not url:
            continue
        if not has_one_reading(url):
            problems.append(f"{name} {TWO_READINGS}")
        elif not (url.startswith("https://") or is_loopback(url)):
            problems.append(f"{name} must be https (http is accepted on loopback only)")
    return problems


def database_address(
    name: str, values: Mapping[str, str], refusals: list[str], warnings: list[str]
) -> SecretStr | None:
    """The database's URL, for SQLAlchemy; None, with a word in `refusals`, if it cannot be read or is not safe.

    libpq's own variables (PG…) in `values` are those of the process's environment.
    """
    url = values.get(name)
    if not url:
        return None
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.split("+")[0] not in ("postgresql", "postgres"):
        refusals.append(f"{name} must be a postgresql:// URL")
        return None
    if not _is_one_address(url):
        refusals.append(f"{name} cannot be read: percent-encode what is special in its password (@ is %40, : is %3A)")
        return None
    if option := _unknown_option(url):
        refusals.append(
            f"{name} has the option {option}, which is not one that is accepted here, or has it twice: take it out "
            "(gssencmode may be disable alone)"
        )
        return None
    if weakness := database_weakness(url, values):
        if values.get("ORDERS_DATABASE_TLS") != "require" or not is_encrypted(url, values):
            refusals.append(
                f"{name} names a server elsewhere, and {weakness}: add sslmode=verify-full (with sslrootcert, where "
                "its certificate is of an authority of your own); where that cannot be, sslmode=require with "
                "ORDERS_DATABASE_TLS=require"
            )
            return None
        warnings.append(f"{name}: {weakness}: encrypted, but nothing proves that the server is yours")
    # The driver is named because SQLAlchemy 2.1 would take psycopg 3 for a bare postgresql://.
    return SecretStr(f"postgresql+psycopg2://{rest}")


def database_weakness(url: str, environ: Mapping[str, str]) -> str | None:
    """Why a connection made from this URL is not as good as verify-full; None if it is, or stays on this machine.

    As libpq decides: what the URL says, else a service file, else PGHOST, PGSSLMODE and the like of the environment.
    """
    options = _libpq_options(url)
    service = options.get("service") or environ.get("PGSERVICE")
    hosts = _entries(options.get("host") or environ.get("PGHOST", ""))
    hosts += _entries(options.get("hostaddr") or environ.get("PGHOSTADDR", ""))
    # A service file may name another host, so that nothing is known of it.
    if not service and all(_is_local(host) for host in hosts):
        return None
    oldest = options.get("ssl_min_protocol_version") or environ.get("PGSSLMINPROTOCOLVERSION")
    if oldest in TOO_OLD_TLS:
        return f"ssl_min_protocol_version is {oldest}: TLS 1.2 is the oldest that is accepted"
    mode = options.get("sslmode") or ("" if service else environ.get("PGSSLMODE", ""))
    if mode == VERIFIED:
        return None
    return f"sslmode is {mode or 'not set'}"


def is_encrypted(url: str, environ: Mapping[str, str]) -> bool:
    """Whether a connection made from this URL is encrypted at least, whoever answers it, or stays on this machine."""
    weakness = database_weakness(url, environ)
    return weakness is None or weakness in {f"sslmode is {mode}" for mode in ENCRYPTED}


def _is_one_address(url: str) -> bool:
    """Whether the URL has one reading: a bare @ or : in a password would become a part of the host."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False
    return "@" not in (parsed.host or "")


def _unknown_option(url: str) -> str | None:
    """The first option of the URL's query that is not accepted, so that it may be shown."""
    from sqlalchemy.engine import make_url

    for name, value in make_url(url).query.items():
        if name not in DATABASE_OPTIONS or (isinstance(value, tuple) and name not in ("host", "port")):
            return re.sub(r"\W", "?", name)[:40]
        # Kerberos would stand in the place of TLS, and sslmode would not count.
        if name == "gssencmode" and value != "disable":
            return name
    return None


def _libpq_options(url: str) -> dict[str, str]:
    """What SQLAlchemy hands to libpq for this URL, in libpq's own words."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url).set(drivername="postgresql+psycopg2")
    arguments, options = parsed.get_dialect()().create_connect_args(parsed)
    assert not arguments or arguments == [""]
    # SQLAlchemy has joined several hosts with commas; any other option that is given twice counts as libpq would: last.
    return {name: value[-1] if isinstance(value, tuple) else str(value) for name, value in options.items()}


def _entries(hosts: str) -> list[str]:
    return hosts.split(",") if hosts else []


def _as_url(host: str) -> str:
    return f"//[{host}]" if ":" in host else f"//{host}"


def _is_local(host: str) -> bool:
    """A UNIX socket (a path, an abstract name, or the default), or a loopback address."""
    return not host or host.startswith(("/", "@")) or is_loopback(_as_url(host))

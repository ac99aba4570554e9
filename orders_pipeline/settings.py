"""Every setting, read and checked once.

Nothing here connects to Amazon, the database or the warehouse.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, SecretStr

from orders_pipeline.http.aws import aws_client
from orders_pipeline.http.hosts import has_one_reading, is_loopback
from orders_pipeline.in_transit import database_address, two_readings, unsafe_endpoints
from orders_pipeline.model.marketplaces import LWA_ENDPOINT, MARKETPLACES, REGIONS, SPAPI_ENDPOINTS, Marketplace, Region
from orders_pipeline.secret_files import exposure
from orders_pipeline.web_settings import WebSettings, read_web

OrdersApi = Literal["2026-01-01", "v0"]
WarehouseAdapter = Literal["rest", "tryton"]

AMAZON_REQUIRED = (
    "AMAZON_LWA_CLIENT_ID",
    "AMAZON_LWA_CLIENT_SECRET",
    "AMAZON_LWA_REFRESH_TOKEN",
    "AMAZON_SELLER_ID",
    "AMAZON_MARKETPLACE_ID",
    "AMAZON_SQS_QUEUE_URL",
)
WAREHOUSE_REQUIRED = ("WMS_BASE_URL", "WMS_TOKEN")
DATABASES = ("ORDERS_DATABASE_URL", "DAGSTER_POSTGRES_URL")


class SettingsError(Exception):
    """Settings are missing or wrong; the message names every one of them and holds no value of a secret."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        listed = "; ".join(problems)
        super().__init__(
            f"Settings: {listed}. Set them in the environment or in .env (a secret may be given as NAME_FILE or "
            "through ORDERS_SECRETS_ARN); README, 'Settings', tells what each means."
        )


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)


class AmazonSettings(_Frozen):
    """One account: one seller in one region, reached by one application."""

    client_id: str
    # Newest first. Two during a rotation: Amazon keeps the old one alive for some days (facts §4).
    client_secrets: tuple[SecretStr, ...]
    refresh_token: SecretStr
    seller_id: str
    marketplaces: tuple[Marketplace, ...]
    region: Region
    queue_url: str
    orders_api: OrdersApi
    # SKUs, or patterns (RX-*), whose orders must be verified before they ship; 2026-01-01 does not say which.
    regulated_skus: tuple[str, ...] = ()
    # Orders purchased before are pushed only when a person adopts them; None: see orders.account_starts.
    start_at: datetime | None
    spapi_endpoint: str
    lwa_endpoint: str

    @property
    def marketplace_ids(self) -> tuple[str, ...]:
        return tuple(marketplace.marketplace_id for marketplace in self.marketplaces)


class WarehouseSettings(_Frozen):
    """Where the warehouse answers, and which language it speaks."""

    adapter: WarehouseAdapter
    base_url: str
    token: SecretStr


DatabasePower = Literal["app", "reader", "retention", "owner", "administrator", "extension"]


class DatabaseRight(_Frozen):
    """A role of the database (or an extension) that is meant to be there, and what it is meant to have."""

    who: str
    right: DatabasePower


class Settings(_Frozen):
    """What this deployment is configured to do.

    `amazon` and `warehouse` are None while anything that they need is missing or wrong; `problems` then says what.
    """

    amazon: AmazonSettings | None
    warehouse: WarehouseSettings | None
    database_url: SecretStr | None
    dagster_postgres_url: SecretStr | None
    data_dir: Path
    keyring_file: Path | None
    kms_key_id: str | None
    # A folder or s3://bucket/prefix; None: a folder in the data folder.
    audit_export: str | None
    slack_webhook_url: SecretStr | None
    web: WebSettings = WebSettings()
    # Who has power in the database beside this process's own login (privacy.access.database_rights).
    database_rights: tuple[DatabaseRight, ...] = ()
    problems: tuple[str, ...] = ()
    # Those of the problems that forbid every use: a default may not stand in for what is wrong, nothing may be sent in
    # clear, and a secret that others can read is not used.
    refusals: tuple[str, ...] = ()
    # What is accepted, and should be mended.
    warnings: tuple[str, ...] = ()

    def require_amazon(self) -> AmazonSettings:
        """The Amazon account. Raises SettingsError naming everything that is missing or wrong."""
        if self.amazon is None:
            raise SettingsError(self.problems)
        return self.amazon

    def require_warehouse(self) -> WarehouseSettings:
        """The warehouse. Raises SettingsError naming everything that is missing or wrong."""
        if self.warehouse is None:
            raise SettingsError(self.problems)
        return self.warehouse

    def require_usable(self) -> None:
        """Raises SettingsError while anything forbids every use, of the database, the keys and all else."""
        if self.refusals:
            raise SettingsError(self.refusals)

    def require_complete(self) -> None:
        """Raises SettingsError unless everything that `up` and `doctor` need is there."""
        if self.problems:
            raise SettingsError(self.problems)


def project_root() -> Path:
    """The repository: the nearest folder with workspace.yaml, upwards of the working directory or this package."""
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "workspace.yaml").is_file():
                return folder
    return Path.cwd()


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read every setting from `environ` (default: the process's environment over `.env`).

    Never raises for a missing or wrong setting: see `Settings.problems`, so that the definitions load without any.
    """
    problems: list[str] = []
    refusals: list[str] = []
    warnings: list[str] = []
    given = _read_environment(warnings) if environ is None else _with_value(environ)
    refusals += unsafe_endpoints(given)
    values = _with_files(given, problems, refusals, warnings)
    secrets = None if refusals else _secrets_manager(values, refusals)
    # What is set for this deployment alone wins over the shared secret.
    values = {**(secrets or {}), **values}
    missing = [name for name in (*AMAZON_REQUIRED, *WAREHOUSE_REQUIRED) if not values.get(name)]
    if missing:
        problems.append("missing " + ", ".join(missing))
    amazon = _amazon(values, problems) if secrets is not None else None
    warehouse = _warehouse(values, problems) if secrets is not None else None
    databases = {
        # libpq reads its own variables, from the process's environment.
        name: database_address(name, values, os.environ if environ is None else environ, refusals, warnings)
        for name in DATABASES
    }
    slack = values.get("SLACK_WEBHOOK_URL")
    if slack and not _check_url("SLACK_WEBHOOK_URL", slack, problems):
        slack = None
    keyring_file = values.get("ORDERS_KEYRING_FILE")
    if keyring_file and values.get("ORDERS_KMS_KEY_ID"):
        problems.append("ORDERS_KEYRING_FILE and ORDERS_KMS_KEY_ID are both set: choose one")
    web = read_web(values, problems)
    if web.users_file is not None and web.users_file.is_file():
        _check_exposure("ORDERS_WEB_USERS_FILE", web.users_file, refusals, warnings)
    if refusals:
        amazon = warehouse = None
    return Settings(
        amazon=amazon,
        warehouse=warehouse,
        database_url=databases["ORDERS_DATABASE_URL"],
        dagster_postgres_url=databases["DAGSTER_POSTGRES_URL"],
        data_dir=_data_dir(values),
        keyring_file=Path(keyring_file).expanduser() if keyring_file else None,
        kms_key_id=values.get("ORDERS_KMS_KEY_ID") or None,
        audit_export=_audit_export(values, problems),
        slack_webhook_url=SecretStr(slack) if slack else None,
        web=web,
        database_rights=_database_rights(values, problems),
        problems=(*problems, *refusals),
        refusals=tuple(refusals),
        warnings=tuple(warnings),
    )


def _read_environment(warnings: list[str]) -> dict[str, str]:
    # The demo names an empty file, so that no setting of a real deployment gets into it.
    file = Path(os.environ.get("ORDERS_ENV_FILE") or project_root() / ".env")
    if file.is_file() and (open_to_others := exposure(".env", file)):
        # Only warned of: a copy of .env.example has the usual mode, and may hold no secret.
        warnings.append(open_to_others.sentence)
    return {**_with_value(dotenv_values(file)), **_with_value(os.environ)}


def _with_value(given: Mapping[str, str | None]) -> dict[str, str]:
    """Without the lines that have no value, as in a copied .env.example: what is named elsewhere counts."""
    return {name: value for name, value in given.items() if value and value.strip()}


# What Secrets Manager said last, by secret and region; sensors read the settings every few seconds.
_SECRETS_TRUSTED_SECONDS = 300.0
_SECRETS_RETRY_SECONDS = 30.0
_secrets: dict[tuple[str, str], tuple[float, dict[str, str]]] = {}
# What could not be read, since when, and what was told of it: one tick asks for the settings several times.
_secrets_unread: dict[tuple[str, str], tuple[float, str]] = {}


def _secrets_manager(values: Mapping[str, str], refusals: list[str]) -> dict[str, str] | None:
    """The names and values of ORDERS_SECRETS_ARN; {} if it is not set, None if it cannot be read and never was."""
    secret_id = values.get("ORDERS_SECRETS_ARN")
    if not secret_id:
        return {}
    place = (secret_id, values.get("AWS_ENDPOINT_URL_SECRETS_MANAGER", ""))
    read_at, known = _secrets.get(place, (0.0, None))
    if known is not None and time.monotonic() - read_at < _SECRETS_TRUSTED_SECONDS:
        return known
    failed_at, problem = _secrets_unread.get(place, (0.0, ""))
    if known is None and problem and time.monotonic() - failed_at < _SECRETS_RETRY_SECONDS:
        refusals.append(problem)
        return None
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        # Every sensor waits for this.
        manager = aws_client("secretsmanager", connect_seconds=2, read_seconds=5, attempts=2)
        answer = manager.get_secret_value(SecretId=secret_id)
        fresh = {str(name): str(value) for name, value in json.loads(answer["SecretString"]).items()}
    except (BotoCoreError, ClientError, KeyError, AttributeError, ValueError) as error:
        if known is not None:
            # Away for a moment: what it said before is still the best that is known, and it is not asked at every tick.
            _secrets[place] = (time.monotonic() - _SECRETS_TRUSTED_SECONDS + _SECRETS_RETRY_SECONDS, known)
            return known
        # The exception's text could echo the secret's content; its type says enough.
        problem = f"ORDERS_SECRETS_ARN could not be read ({type(error).__name__}): it must be a JSON object"
        _secrets_unread[place] = (time.monotonic(), problem)
        refusals.append(problem)
        return None
    _secrets[place] = (time.monotonic(), fresh)
    return fresh


def _with_files(
    values: dict[str, str], problems: list[str], refusals: list[str], warnings: list[str]
) -> dict[str, str]:
    resolved = dict(values)
    secret_names = (*AMAZON_REQUIRED, "WMS_TOKEN", "WMS_BASE_URL", *DATABASES, "SLACK_WEBHOOK_URL",
                    "AMAZON_LWA_CLIENT_SECRET_PREVIOUS", "ORDERS_WEB_REPORT_TOKEN")  # fmt: skip
    for name in secret_names:
        path = values.get(f"{name}_FILE")
        if not path or values.get(name):
            continue
        # Without its address another database would be taken for this one: the embedded one, which is empty.
        found_wrong = refusals if name in DATABASES else problems
        try:
            file = Path(path).expanduser()
            _check_exposure(f"{name}_FILE", file, refusals, warnings)
            resolved[name] = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            found_wrong.append(f"{name}_FILE cannot be read ({error.strerror})")
        except UnicodeError:
            # Without the error: it carries the file's bytes.
            found_wrong.append(f"{name}_FILE cannot be read (it is not UTF-8 text)")
    return resolved


def _check_exposure(name: str, file: Path, refusals: list[str], warnings: list[str]) -> None:
    if open_to_others := exposure(name, file):
        (refusals if open_to_others.refused else warnings).append(open_to_others.sentence)


def _amazon(values: Mapping[str, str], problems: list[str]) -> AmazonSettings | None:
    before = len(problems)
    marketplaces, region = _marketplaces(values, problems)
    orders_api = values.get("AMAZON_ORDERS_API") or "2026-01-01"
    if orders_api not in get_args(OrdersApi):
        problems.append(f"AMAZON_ORDERS_API is {orders_api!r}: use 2026-01-01 or v0")
    spapi_endpoint = values.get("AMAZON_SPAPI_ENDPOINT") or (SPAPI_ENDPOINTS[region] if region else "")
    lwa_endpoint = values.get("AMAZON_LWA_ENDPOINT") or LWA_ENDPOINT
    for name, url in (("AMAZON_SPAPI_ENDPOINT", spapi_endpoint), ("AMAZON_LWA_ENDPOINT", lwa_endpoint)):
        if url:
            _check_url(name, url, problems)
    start_at = _start_at(values, problems)
    queue_url = values.get("AMAZON_SQS_QUEUE_URL", "")
    if queue_url.endswith(".fifo"):
        problems.append("AMAZON_SQS_QUEUE_URL names a FIFO queue: Amazon delivers to standard queues only")
    if queue_url and (not re.match(r"/(?!/)", queue_url) or not has_one_reading(queue_url)):
        # A path alone is a queue behind AWS_ENDPOINT_URL_SQS; "//" would begin another host.
        _check_url("AMAZON_SQS_QUEUE_URL", queue_url, problems)
    if any(not values.get(name) for name in AMAZON_REQUIRED) or len(problems) > before or region is None:
        return None
    secrets = [values["AMAZON_LWA_CLIENT_SECRET"]]
    if previous := values.get("AMAZON_LWA_CLIENT_SECRET_PREVIOUS"):
        secrets.append(previous)
    return AmazonSettings(
        client_id=values["AMAZON_LWA_CLIENT_ID"],
        client_secrets=tuple(SecretStr(secret) for secret in secrets),
        refresh_token=SecretStr(values["AMAZON_LWA_REFRESH_TOKEN"]),
        seller_id=values["AMAZON_SELLER_ID"],
        marketplaces=marketplaces,
        region=region,
        queue_url=queue_url,
        orders_api=cast(OrdersApi, orders_api),
        regulated_skus=tuple(
            part.strip() for part in values.get("AMAZON_REGULATED_SKUS", "").split(",") if part.strip()
        ),
        start_at=start_at,
        spapi_endpoint=spapi_endpoint.rstrip("/"),
        lwa_endpoint=lwa_endpoint.rstrip("/"),
    )


def _start_at(values: Mapping[str, str], problems: list[str]) -> datetime | None:
    named = values.get("ORDERS_START_AT")
    if not named:
        return None
    try:
        start_at = datetime.fromisoformat(named.strip())
    except ValueError:
        start_at = None
    if start_at is None or start_at.tzinfo is None:
        problems.append(f"ORDERS_START_AT is {named!r}: write a time with its offset, as 2026-11-24T06:00:00Z")
        return None
    return start_at.astimezone(UTC)


def _marketplaces(values: Mapping[str, str], problems: list[str]) -> tuple[tuple[Marketplace, ...], Region | None]:
    ids = [part.strip() for part in values.get("AMAZON_MARKETPLACE_ID", "").split(",") if part.strip()]
    unknown = [marketplace_id for marketplace_id in ids if marketplace_id not in MARKETPLACES]
    if unknown:
        problems.append(f"AMAZON_MARKETPLACE_ID has unknown ids: {', '.join(unknown)}")
    marketplaces = tuple(MARKETPLACES[marketplace_id] for marketplace_id in ids if marketplace_id in MARKETPLACES)
    regions: list[Region] = sorted({marketplace.region for marketplace in marketplaces})
    if len(regions) > 1:
        problems.append(
            f"AMAZON_MARKETPLACE_ID mixes the regions {', '.join(regions)}: one deployment serves one region"
        )
        return marketplaces, None
    told = values.get("AMAZON_REGION", "").lower()
    named: Region | None = next((region for region in REGIONS if region == told), None)
    if told and named is None:
        problems.append(f"AMAZON_REGION is {told!r}: use na, eu or fe")
        return marketplaces, None
    if named and regions and regions[0] != named:
        problems.append(f"AMAZON_REGION is {named}, but the marketplaces are of region {regions[0]}")
        return marketplaces, None
    return marketplaces, regions[0] if regions else named


def _warehouse(values: Mapping[str, str], problems: list[str]) -> WarehouseSettings | None:
    before = len(problems)
    adapter = values.get("WMS_ADAPTER") or "rest"
    if adapter not in get_args(WarehouseAdapter):
        problems.append(f"WMS_ADAPTER is {adapter!r}: use rest or tryton")
    base_url = values.get("WMS_BASE_URL", "")
    if base_url:
        _check_url("WMS_BASE_URL", base_url, problems)
    if any(not values.get(name) for name in WAREHOUSE_REQUIRED) or len(problems) > before:
        return None
    return WarehouseSettings(
        adapter=cast(WarehouseAdapter, adapter), base_url=base_url.rstrip("/"), token=SecretStr(values["WMS_TOKEN"])
    )


def _check_url(name: str, url: str, problems: list[str]) -> bool:
    if not has_one_reading(url):
        problems.append(two_readings(name))
        return False
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problems.append(f"{name} is not an http(s) URL")
    elif parts.scheme == "http" and not is_loopback(url):
        problems.append(f"{name} must be https (http is accepted on loopback only)")
    else:
        return True
    return False


def _database_rights(values: Mapping[str, str], problems: list[str]) -> tuple[DatabaseRight, ...]:
    rights: list[DatabaseRight] = []
    for part in (part.strip() for part in values.get("ORDERS_DATABASE_RIGHTS", "").split(",")):
        # By the last colon: a login may have one in its name.
        who, _, named = part.rpartition(":")
        right: DatabasePower | None = next((one for one in get_args(DatabasePower) if one == named.strip()), None)
        if who.strip() and right is not None:
            rights.append(DatabaseRight(who=who.strip(), right=right))
        elif part:
            problems.append(
                f"ORDERS_DATABASE_RIGHTS has {part!r}: write login:right, with the right one of "
                + ", ".join(get_args(DatabasePower))
            )
    return tuple(rights)


def _audit_export(values: Mapping[str, str], problems: list[str]) -> str | None:
    named = values.get("ORDERS_AUDIT_EXPORT") or None
    if named and "://" in named:
        parts = urlsplit(named)
        if parts.scheme != "s3" or not parts.netloc:
            problems.append("ORDERS_AUDIT_EXPORT must be a folder or s3://bucket/prefix")
    return named


def _data_dir(values: Mapping[str, str]) -> Path:
    if named := values.get("ORDERS_DATA_DIR"):
        return Path(named).expanduser().resolve()
    home = values.get("DAGSTER_HOME")
    return (Path(home).expanduser().resolve() if home else project_root()) / ".orders_pipeline"

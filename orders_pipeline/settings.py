"""Every setting, read and checked once.

Nothing here connects to Amazon, the database or the warehouse.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, model_validator
from pydantic_settings import BaseSettings

from orders_pipeline.accounts_file import ACCOUNTS_FILE
from orders_pipeline.alert_settings import AlertSettings, read_alerts
from orders_pipeline.amazon_settings import OF_ONE_ACCOUNT, AmazonSettings, WrongAccount, accounts_of_file
from orders_pipeline.application_settings import ApplicationSettings
from orders_pipeline.in_transit import database_address, unsafe_endpoints
from orders_pipeline.model.account import Account
from orders_pipeline.secret_files import exposure
from orders_pipeline.settings_group import (
    BaseUrl,
    File,
    Group,
    required_variables,
    secret_variables,
)
from orders_pipeline.settings_sources import DATABASES, accounts_in, reports_in, sources, variables_in
from orders_pipeline.web_settings import WebSettings, read_web

WEBHOOK_SECRETS_AT_MOST = 2
# Those of this release; anybody's own is `package.module:name`, which is called with the WarehouseSettings.
WAREHOUSE_ADAPTERS = ("rest", "tryton")
_OWN_ADAPTER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class SettingsError(Exception):
    """Settings are missing or wrong; the message names every one of them and holds no value of a secret."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        listed = "; ".join(problems)
        super().__init__(
            f"Settings: {listed}. Set them in the environment or in .env (a secret may be given as NAME_FILE or "
            "through ORDERS_SECRETS_ARN); README, 'Settings', tells what each means."
        )


# --- the warehouse


def _webhook_secrets(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    secrets = tuple(part.strip() for part in given.split(",") if part.strip())
    if len(secrets) > WEBHOOK_SECRETS_AT_MOST:
        raise ValueError("has more than two secrets: give one, or the old and the new one during a rotation")
    return secrets


def _adapter(given: str) -> str:
    if given not in WAREHOUSE_ADAPTERS and not _OWN_ADAPTER.fullmatch(given):
        names = " or ".join(WAREHOUSE_ADAPTERS)
        raise ValueError(f"is {given!r}: use {names}, or package.module:name of an adapter of your own")
    return given


def _address_of_warehouse(url: str, info: ValidationInfo) -> str:
    if info.data.get("adapter") == "tryton" and not urlsplit(url).path.strip("/"):
        raise ValueError("names no database: write it behind Tryton's address, as https://tryton.example/database")
    return url


def _token_of_warehouse(token: SecretStr, info: ValidationInfo) -> SecretStr:
    user, _, password = token.get_secret_value().partition(":")
    if info.data.get("adapter") == "tryton" and not (user and password):
        raise ValueError("must be user:password for WMS_ADAPTER=tryton")
    return token


class WarehouseSettings(Group):
    """Where the warehouse answers, and which language it speaks."""

    adapter: Annotated[str, AfterValidator(_adapter)] = Field(default="rest", validation_alias="WMS_ADAPTER")
    base_url: Annotated[BaseUrl, AfterValidator(_address_of_warehouse)] = Field(validation_alias="WMS_BASE_URL")
    token: Annotated[SecretStr, AfterValidator(_token_of_warehouse)] = Field(validation_alias="WMS_TOKEN")
    # Two with a comma during a rotation; without one webhooks are refused, and the warehouse is polled alone.
    webhook_secrets: Annotated[tuple[SecretStr, ...], BeforeValidator(_webhook_secrets)] = Field(
        default=(), validation_alias="WMS_WEBHOOK_SECRET"
    )


AMAZON_REQUIRED = required_variables(AmazonSettings)
WAREHOUSE_REQUIRED = required_variables(WarehouseSettings)


# --- this deployment

DatabasePower = Literal["app", "reader", "retention", "owner", "administrator", "extension"]


class DatabaseRight(Group):
    """A role of the database (or an extension) that is meant to be there, and what it is meant to have."""

    who: str
    right: DatabasePower


def _database_rights(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    rights: list[DatabaseRight] = []
    for part in (part.strip() for part in given.split(",")):
        # By the last colon: a login may have one in its name.
        who, _, right = (piece.strip() for piece in part.rpartition(":"))
        if who and right in get_args(DatabasePower):
            rights.append(DatabaseRight(who=who, right=cast(DatabasePower, right)))
        elif part:
            powers = ", ".join(get_args(DatabasePower))
            raise ValueError(f"has {part!r}: write login:right, with the right one of {powers}")
    return tuple(rights)


def _folder_or_bucket(place: str) -> str:
    parts = urlsplit(place)
    # A colon in the first part of a path is a slip of a URL, not a folder's name.
    if ":" not in place.partition("/")[0]:
        return place
    if parts.scheme != "s3" or not parts.netloc or "://" not in place:
        raise ValueError("must be a folder or s3://bucket/prefix")
    return f"s3://{parts.netloc}{parts.path}"


def _only_one_provider(file: Path, info: ValidationInfo) -> Path:
    if info.data.get("kms_key_id"):
        raise ValueError("and ORDERS_KMS_KEY_ID are both set: choose one")
    return file


def _default_data_dir(validated: dict[str, Any]) -> Path:
    return (validated["dagster_home"] or project_root()) / ".orders_pipeline"


Folder = Annotated[Path, AfterValidator(lambda folder: folder.expanduser().resolve())]


class DeploymentSettings(Group):
    """Where this deployment keeps its things."""

    dagster_home: Folder | None = Field(default=None, validation_alias="DAGSTER_HOME")
    data_dir: Folder = Field(default_factory=_default_data_dir, validation_alias="ORDERS_DATA_DIR")
    kms_key_id: str | None = Field(default=None, validation_alias="ORDERS_KMS_KEY_ID")
    keyring_file: Annotated[File, AfterValidator(_only_one_provider)] | None = Field(
        default=None, validation_alias="ORDERS_KEYRING_FILE"
    )
    # A folder or s3://bucket/prefix; None: a folder in the data folder.
    audit_export: Annotated[str, AfterValidator(_folder_or_bucket)] | None = Field(
        default=None, validation_alias="ORDERS_AUDIT_EXPORT"
    )
    # Who has power in the database beside this process's own login (privacy.access.database_rights).
    database_rights: Annotated[tuple[DatabaseRight, ...], BeforeValidator(_database_rights)] = Field(
        default=(), validation_alias="ORDERS_DATABASE_RIGHTS"
    )


_GROUPS = (AmazonSettings, ApplicationSettings, WarehouseSettings, WebSettings, AlertSettings, DeploymentSettings)
NAMES_IN_FILES = tuple(
    dict.fromkeys(
        name for group in _GROUPS for name in (*required_variables(group), *secret_variables(group), *DATABASES)
    )
)


class Settings(BaseSettings, DeploymentSettings):  # pyright: ignore[reportIncompatibleVariableOverride]  # model_config
    """What this deployment is configured to do.

    `amazon` (the environment's one account) and `warehouse` are None while anything that they need is missing or wrong;
    `problems` then says what. With AMAZON_ACCOUNTS_FILE `amazon` is None.
    """

    amazon: AmazonSettings | None
    # Of AMAZON_ACCOUNTS_FILE; None: the environment's one account.
    accounts_of_file: tuple[AmazonSettings, ...] | None
    wrong_accounts: tuple[WrongAccount, ...]
    application: ApplicationSettings
    warehouse: WarehouseSettings | None
    database_url: SecretStr | None
    dagster_postgres_url: SecretStr | None
    web: WebSettings
    alerts: AlertSettings
    problems: tuple[str, ...]
    # Those of the problems that forbid every use: a default may not stand in for what is wrong, nothing may be sent in
    # clear, and a secret that others can read is not used.
    refusals: tuple[str, ...]
    # What is accepted, and should be mended.
    warnings: tuple[str, ...]

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """Never raises for a missing or wrong setting: see `problems`, so that the definitions load without any."""
        # The demo names an empty file, so that no setting of a real deployment gets into it.
        env_file = Path(os.environ.get("ORDERS_ENV_FILE") or project_root() / ".env")
        super().__init__(_build_sources=(sources(type(self), environ, env_file, NAMES_IN_FILES), {}))

    @model_validator(mode="before")
    @classmethod
    def _check(cls, state: dict[str, Any]) -> dict[str, Any]:
        """Each group from what the sources gave; what is wrong becomes a value."""
        values, reports = variables_in(state), reports_in(state)
        problems = [problem for report in reports for problem in report.problems]
        refusals = [*unsafe_endpoints(values), *(refusal for report in reports for refusal in report.refusals)]
        warnings = [warning for report in reports for warning in report.warnings]
        read = accounts_in(state)
        required = (*(AMAZON_REQUIRED if read is None else ()), *WAREHOUSE_REQUIRED)
        if missing := [name for name in required if name not in values]:
            problems.append("missing " + ", ".join(missing))
        amazon, of_file, wrong = None, None, ()
        if read is None:
            amazon = AmazonSettings.read(values, problems)
        else:
            of_file, wrong = accounts_of_file(read, values)
            problems += [sentence for one in wrong for sentence in one.sentences]
            if unread := [name for name in OF_ONE_ACCOUNT if name in values]:
                warnings.append(f"{', '.join(unread)}: not read, since {ACCOUNTS_FILE} names the accounts")
        application = ApplicationSettings.read_what_is_right(values, problems)
        warehouse = WarehouseSettings.read(values, problems)
        deployment = DeploymentSettings.read_what_is_right(values, problems)
        database_url, dagster_postgres_url = (database_address(name, values, refusals, warnings) for name in DATABASES)
        web = read_web(values, problems)
        alerts = read_alerts(values, problems)
        users_file = web.users_file if web.users_file is not None and web.users_file.is_file() else None
        if users_file is not None and (open_to_others := exposure("ORDERS_WEB_USERS_FILE", users_file)):
            (refusals if open_to_others.refused else warnings).append(open_to_others.sentence)
        return {
            **dict(deployment),
            "amazon": None if refusals else amazon,
            "accounts_of_file": () if refusals and of_file is not None else of_file,
            "wrong_accounts": wrong,
            "application": application,
            "warehouse": None if refusals else warehouse,
            "web": web,
            "alerts": alerts,
            "database_url": database_url,
            "dagster_postgres_url": dagster_postgres_url,
            # A file that two sources name is told of once.
            "problems": tuple(dict.fromkeys((*problems, *refusals))),
            "refusals": tuple(dict.fromkeys(refusals)),
            "warnings": tuple(warnings),
        }

    def amazon_accounts(self) -> tuple[AmazonSettings, ...]:
        """Every account that is served, with its secrets: those of the file that are right, or the environment's one.

        Raises SettingsError if there is none.
        """
        if self.accounts_of_file is None:
            return (self.require_amazon(),)
        if not self.accounts_of_file:
            raise SettingsError(self.problems)
        return self.accounts_of_file

    def accounts(self) -> tuple[Account, ...]:
        """Every account that is served, without secrets. Raises SettingsError if there is none."""
        return tuple(one.account for one in self.amazon_accounts())

    def problem_of(self, variable: str) -> str | None:
        """What is wrong with the value that this variable was given; None if nothing is, or it was given none."""
        return next((problem for problem in self.problems if problem.startswith(f"{variable} ")), None)

    def require_amazon(self) -> AmazonSettings:
        """The environment's one account. Raises SettingsError naming everything that is missing or wrong."""
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
        """Raises SettingsError unless everything is there and right."""
        if self.problems:
            raise SettingsError(self.problems)

    def require_servable(self) -> None:
        """Raises SettingsError unless what every account needs is there, and one account at least is right.

        What is wrong with others of a file's accounts stops them alone: see `wrong_accounts`.
        """
        theirs = {sentence for one in self.wrong_accounts for sentence in one.sentences}
        if (self.accounts_of_file is not None and not self.accounts_of_file) or set(self.problems) - theirs:
            raise SettingsError(self.problems)


def project_root() -> Path:
    """The repository: the nearest folder with workspace.yaml, upwards of the working directory or this package."""
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "workspace.yaml").is_file():
                return folder
    return Path.cwd()


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Every setting from `environ` (default: the process's environment over `.env`), as it is now."""
    return Settings(environ)

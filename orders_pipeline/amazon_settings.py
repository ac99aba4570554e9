"""The settings of Amazon: one account of the environment, or several of AMAZON_ACCOUNTS_FILE, by one set of rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

from orders_pipeline.accounts_file import ACCOUNTS_FILE, STORED, ReadAccount, ReadAccounts
from orders_pipeline.http.hosts import has_one_reading
from orders_pipeline.model.account import Account, HistorySource, OrdersApi
from orders_pipeline.model.marketplaces import LWA_ENDPOINT, MARKETPLACES, SPAPI_ENDPOINTS, Marketplace, Region
from orders_pipeline.model.order import MERCHANT
from orders_pipeline.settings_group import BaseUrl, Group, Parts, check_url, variable_of


def _marketplaces(given: Any) -> Any:
    if isinstance(given, str):
        given = given.split(",")
    elif not (isinstance(given, list) and all(isinstance(part, str) for part in cast(list[Any], given))):
        return given
    ids = [part.strip() for part in cast(list[str], given) if part.strip()]
    if unknown := [marketplace_id for marketplace_id in ids if marketplace_id not in MARKETPLACES]:
        raise ValueError(f"has unknown ids: {', '.join(unknown)}")
    marketplaces = tuple(MARKETPLACES[marketplace_id] for marketplace_id in ids)
    regions = sorted({marketplace.region for marketplace in marketplaces})
    if len(regions) != 1:
        mixed = f"mixes the regions {', '.join(regions)}: an account is of one (AMAZON_ACCOUNTS_FILE names several)"
        raise ValueError(mixed if regions else "names no marketplace")
    return marketplaces


def _region_of(validated: dict[str, Any]) -> Region:
    marketplaces: tuple[Marketplace, ...] = validated["marketplaces"]
    return marketplaces[0].region


def _agrees(region: Region, info: ValidationInfo) -> Region:
    if "marketplaces" in info.data and (others := _region_of(info.data)) != region:
        raise ValueError(f"is {region}, but the marketplaces are of region {others}")
    return region


def _queue_url(url: str) -> str:
    if url.endswith(".fifo"):
        raise ValueError("names a FIFO queue: Amazon delivers to standard queues only")
    # A path alone is a queue behind AWS_ENDPOINT_URL_SQS; "//" would begin another host.
    is_path = url.startswith("/") and not url.startswith("//") and has_one_reading(url)
    return url if is_path else check_url(url)


def _moment(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        moment = datetime.fromisoformat(given.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"is {given!r}: write a time with its offset, as 2026-11-24T06:00:00Z")
    return moment.astimezone(UTC)


def _unless_stored(given: Any) -> Any:
    return None if isinstance(given, str) and given.strip() == STORED else given


class AmazonSettings(Group):
    """One account: one seller in one region, reached by one application."""

    client_id: str = Field(validation_alias="AMAZON_LWA_CLIENT_ID")
    client_secret: SecretStr = Field(validation_alias="AMAZON_LWA_CLIENT_SECRET")
    # During a rotation: Amazon keeps the old one alive for some days (facts §4).
    previous_client_secret: SecretStr | None = Field(default=None, validation_alias="AMAZON_LWA_CLIENT_SECRET_PREVIOUS")
    # None: the one that the seller's authorization left in the vault (accounts_file.STORED).
    refresh_token: Annotated[SecretStr | None, BeforeValidator(_unless_stored)] = Field(
        validation_alias="AMAZON_LWA_REFRESH_TOKEN"
    )
    # No variable has this name: the key of the rows of the environment's one account is its seller's id.
    named: str | None = Field(default=None, validation_alias=f"{ACCOUNTS_FILE}: account")
    # The variable that the refresh token was found in, where that is not the one above.
    token_name: str | None = Field(default=None, validation_alias=f"{ACCOUNTS_FILE}: secrets.refresh_token")
    seller_id: str = Field(validation_alias="AMAZON_SELLER_ID")
    marketplaces: Annotated[tuple[Marketplace, ...], BeforeValidator(_marketplaces)] = Field(
        validation_alias="AMAZON_MARKETPLACE_ID"
    )
    region: Annotated[Region, BeforeValidator(lambda region: region.lower()), AfterValidator(_agrees)] = Field(
        default_factory=_region_of, validation_alias="AMAZON_REGION"
    )
    queue_url: Annotated[str, AfterValidator(_queue_url)] = Field(validation_alias="AMAZON_SQS_QUEUE_URL")
    orders_api: OrdersApi = Field(default="2026-01-01", validation_alias="AMAZON_ORDERS_API")
    # What a backfill reads: operations.history tells what each costs.
    history_source: HistorySource = Field(default="auto", validation_alias="ORDERS_HISTORY_SOURCE")
    # SKUs, or patterns (RX-*), whose orders must be verified before they ship; 2026-01-01 does not say which.
    regulated_skus: Parts = Field(default=(), validation_alias="AMAZON_REGULATED_SKUS")
    # Orders purchased before are pushed only when a person adopts them; None: see orders.account_starts.
    start_at: Annotated[datetime | None, BeforeValidator(_moment)] = Field(
        default=None, validation_alias="ORDERS_START_AT"
    )
    # False: the orders that Amazon ships itself are not searched for. Their notifications are recorded all the same.
    watch_fba: bool = Field(default=True, validation_alias="ORDERS_WATCH_FBA")
    spapi_endpoint: BaseUrl = Field(
        default_factory=lambda validated: SPAPI_ENDPOINTS[_region_of(validated)],
        validation_alias="AMAZON_SPAPI_ENDPOINT",
    )
    lwa_endpoint: BaseUrl = Field(default=LWA_ENDPOINT, validation_alias="AMAZON_LWA_ENDPOINT")

    @property
    def account_id(self) -> str:
        """The key of every stored row. Those stored before there were accounts carry the seller's id."""
        return self.named or self.seller_id

    @property
    def client_secrets(self) -> tuple[SecretStr, ...]:
        """Newest first; two during a rotation."""
        return tuple(one for one in (self.client_secret, self.previous_client_secret) if one is not None)

    @property
    def marketplace_ids(self) -> tuple[str, ...]:
        return tuple(marketplace.marketplace_id for marketplace in self.marketplaces)

    @property
    def searched_fulfillers(self) -> tuple[str, ...]:
        """Whose orders a search asks for; empty for everybody's."""
        return () if self.watch_fba else (MERCHANT,)

    @property
    def account(self) -> Account:
        return Account(
            account_id=self.account_id,
            seller_id=self.seller_id,
            region=self.region,
            marketplace_ids=self.marketplace_ids,
            queue_url=self.queue_url,
            orders_api=self.orders_api,
            regulated_skus=self.regulated_skus,
            start_at=self.start_at,
        )


# --- several accounts, of a file

# Where an account's keys in the file are other words than the names of the fields that they become.
_KEYS = {
    "named": "account",
    "seller_id": "seller",
    "queue_url": "queue",
    "previous_client_secret": "client_secret_previous",
}
_VARIABLES = {_KEYS.get(name, name): variable_of(field) for name, field in AmazonSettings.model_fields.items()}
_SECRETS = ("client_id", "client_secret", "client_secret_previous", "refresh_token")
# What a variable of the environment says for every account that does not say it itself.
_FOR_ALL = (
    "orders_api", "start_at", "regulated_skus", "history_source", "watch_fba", "spapi_endpoint", "lwa_endpoint"
)  # fmt: skip
# What only the environment's one account is made of.
OF_ONE_ACCOUNT = ("AMAZON_SELLER_ID", "AMAZON_MARKETPLACE_ID", "AMAZON_REGION", "AMAZON_SQS_QUEUE_URL")


class WrongAccount(Group):
    """An account of the file that is not served, and why; no value of a secret is in it."""

    name: str
    problems: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(f"{ACCOUNTS_FILE}: account {self.name}: {problem}" for problem in self.problems)


def accounts_of_file(
    read: ReadAccounts, values: Mapping[str, str]
) -> tuple[tuple[AmazonSettings, ...], tuple[WrongAccount, ...]]:
    """Those that are served, and those that are not: what is wrong with one is no other's trouble."""
    checked = [(one, *_checked(one, values)) for one in read.accounts]
    clashes = _clashes([account for _, account, _ in checked if account is not None])
    served: list[AmazonSettings] = []
    wrong: list[WrongAccount] = []
    for one, account, problems in checked:
        problems += clashes.get(one.name, [])
        if account is None or problems:
            wrong.append(WrongAccount(name=one.name, problems=tuple(problems)))
        else:
            served.append(account)
    return tuple(served), tuple(wrong)


def _checked(read: ReadAccount, values: Mapping[str, str]) -> tuple[AmazonSettings | None, list[str]]:
    given: dict[str, Any] = {_VARIABLES[key]: values[_VARIABLES[key]] for key in _FOR_ALL if _VARIABLES[key] in values}
    given |= {_VARIABLES[key]: value for key, value in read.given.items()}
    problems = list(read.problems)
    for key in _SECRETS if read.secrets is not None else ():
        name: str = getattr(read.secrets, key)
        if name == STORED:
            given[_VARIABLES[key]] = None
        elif name in values:
            given[_VARIABLES[key]] = values[name]
            given |= {_VARIABLES["token_name"]: name} if key == "refresh_token" else {}
        elif key != "client_secret_previous":
            problems.append(f"secrets.{key}: the variable {name} is not set")
    sentences: list[str] = []
    account = AmazonSettings.read(given, sentences)
    keys = {variable: key for key, variable in _VARIABLES.items() if key in read.given}
    for sentence in sentences:
        # By the key, where the file said it; by the variable, where that speaks for all.
        variable = next((one for one in keys if sentence.startswith((f"{one} ", f"{one}: "))), None)
        said = sentence if variable is None else f"{keys[variable]}{sentence.removeprefix(variable)}"
        problems.append(said if variable is None else f"line {read.line}: {said}")
    return account, problems


def _clashes(accounts: Sequence[AmazonSettings]) -> dict[str, list[str]]:
    """By account, why it cannot be served beside another."""
    problems: dict[str, list[str]] = {}
    for one in accounts:
        for other in accounts:
            if other is one or other.seller_id != one.seller_id:
                continue
            if other.region == one.region:
                # Both would read every order of the seller, and push it.
                problem = f"{other.account_id} is the same seller in the same region: name all marketplaces in one"
                problems.setdefault(one.account_id, []).append(problem)
            elif other.queue_url == one.queue_url:
                # A message says whose it is by the seller's id.
                problem = f"{other.account_id} is the same seller with the same queue: give each region its own"
                problems.setdefault(one.account_id, []).append(problem)
    return problems

"""Read AMAZON_ACCOUNTS_FILE: what each account is, and the names of the variables that hold its secrets.

The file holds no secret: whoever reads it, prints it or keeps it in git gives nothing away. What is wrong with one
account is that account's alone, as far as its parts can be told apart; `settings` checks the values by the rules of the
environment's one account.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orders_pipeline.model.account import HistorySource, OrdersApi
from orders_pipeline.model.marketplaces import MARKETPLACES, Region
from orders_pipeline.secret_files import exposure
from orders_pipeline.yaml_lines import NotUsable, Values, compose, line_of, read_text, shown

ACCOUNTS_FILE = "AMAZON_ACCOUNTS_FILE"
# Some eight hundred accounts as the example writes them.
LARGEST_FILE_BYTES = 512 * 1024
_MOST_ACCOUNTS = 500
_WHAT_TO_DO = "mend it as docs/accounts.example.yaml shows; it is read again at once"
# In the place of a variable's name: the token that the seller's authorization left in the vault.
STORED = "stored"
# Amazon's own beginnings: refresh, access and restricted tokens, client secrets. Such a value is never repeated.
_SECRET = re.compile(r"Atzr\||Atza\||Atz\.|amzn1\.oa2-cs\.")

# The key of every stored row, in metrics, tags and pages: so it is short, and is not changed later.
AccountName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
# Two words at least: what has none is rather a secret than a name.
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$", max_length=80)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SecretNames(_Part):
    """The names of the variables that hold the secrets; never the secrets.

    Each is looked for where the environment's own are: the environment, NAME_FILE, .env, AWS Secrets Manager.
    """

    client_id: VariableName = "AMAZON_LWA_CLIENT_ID"
    client_secret: VariableName = "AMAZON_LWA_CLIENT_SECRET"  # noqa: S105 - a variable's name
    client_secret_previous: VariableName = Field(
        default="AMAZON_LWA_CLIENT_SECRET_PREVIOUS", description="It may be unset; set during a rotation."
    )
    refresh_token: Literal["stored"] | VariableName = Field(
        description="`stored`: the token that `orders-pipeline authorize` sealed in the vault."
    )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (getattr(self, each) for each in type(self).model_fields) if name != STORED)


class AccountEntry(_Part):
    """One account: one seller in one region. What is left out is as the environment's variables say for all."""

    account: AccountName | None = Field(
        default=None, description="The key of every stored row: short, and never changed. Default: the seller's id."
    )
    seller: AccountName
    region: Region | None = Field(default=None, description="Default: the region of the marketplaces.")
    marketplaces: list[str] = Field(min_length=1, description="Ids, all of one region.")
    queue: str = Field(description="The URL of the SQS queue. Accounts may share one.")
    secrets: SecretNames
    orders_api: OrdersApi | None = None
    start_at: str | None = Field(default=None, description="A time with its offset, as 2026-11-24T06:00:00Z.")
    regulated_skus: list[str] | None = None
    history_source: HistorySource | None = None
    watch_fba: bool | None = None
    spapi_endpoint: str | None = None
    lwa_endpoint: str | None = None


class AccountsFile(_Part):
    """Every account that this deployment serves."""

    accounts: list[AccountEntry] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class ReadAccount:
    """One account as the file has it. `name`: its id, or which of the list it is. `given`: its keys that are right.

    `secrets` is None while their names are missing or wrong; `problems` then says so, without any value.
    """

    name: str
    line: int
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])
    secrets: SecretNames | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadAccounts:
    """What the file says. `problem`: why none of it can be used. `refused`: others can change the file."""

    accounts: tuple[ReadAccount, ...] = ()
    problem: str | None = None
    refused: bool = False

    @property
    def secret_names(self) -> tuple[str, ...]:
        """Every variable that holds a secret of an account."""
        return tuple(dict.fromkeys(name for one in self.accounts if one.secrets for name in one.secrets.names))


def read_accounts(file: Path) -> ReadAccounts:
    """Every account of the file, right or wrong."""
    try:
        content = read_text(file, LARGEST_FILE_BYTES)
        # Whoever can change it decides where the client secret is sent.
        if open_to_others := exposure(ACCOUNTS_FILE, file, holds_a_secret=False):
            return ReadAccounts(problem=open_to_others.sentence, refused=True)
        return _parsed(content)
    except NotUsable as error:
        return ReadAccounts(problem=f"{ACCOUNTS_FILE}: {error}: {_WHAT_TO_DO}")
    except OSError as error:
        return ReadAccounts(problem=f"{ACCOUNTS_FILE}: it cannot be read ({error.strerror})")


def json_schema() -> str:
    """docs/accounts.schema.json, for editors that check YAML against a schema."""
    schema = AccountsFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$defs"]["AccountEntry"]["properties"]["marketplaces"]["items"] = {"enum": sorted(MARKETPLACES)}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


# Sensors read the settings every few seconds, and the file is mostly the same.
@lru_cache(maxsize=4)
def _parsed(content: str) -> ReadAccounts:
    """Raises NotUsable."""
    root = compose(content)
    pairs = root.value if isinstance(root, MappingNode) else []
    listed = pairs[0][1] if len(pairs) == 1 and pairs[0][0].value == "accounts" else None
    if not isinstance(listed, SequenceNode) or not 0 < len(listed.value) <= _MOST_ACCOUNTS:
        raise NotUsable(f"it must be `accounts:` with a list below of 1 to {_MOST_ACCOUNTS} accounts, and nothing else")
    accounts = [_account(node, number) for number, node in enumerate(listed.value, start=1)]
    times = Counter(one.name for one in accounts)
    return ReadAccounts(
        tuple(
            # Neither is served: the rows of one would be the other's.
            replace(one, problems=(*one.problems, f"line {one.line}: account: another has the same id"))
            if times[one.name] > 1
            else one
            for one in accounts
        )
    )


def _account(node: Node, number: int) -> ReadAccount:
    line = node.start_mark.line + 1
    values = Values()
    content = values.of(node)
    name = _name(content) or f"number {number} of the list"
    if values.are_too_many:
        return ReadAccount(name, line, problems=(f"line {line}: it has too much in it",))
    if secrets := sorted(_lines_of_secrets(node)):
        told = ", ".join(str(each) for each in secrets)
        problem = f"line {told}: a secret itself (not repeated here): put it in a variable and name that"
        return ReadAccount(name, line, problems=(problem,))
    wrong = [f"line {where}: {what}" for where, what in values.problems]
    if not isinstance(content, dict):
        return ReadAccount(name, line, problems=(*wrong, f"line {line}: must be keys with a value each"))
    keys: dict[str, Any] = content
    # An empty value is none, as a line of `.env` without one.
    keys = {key: value for key, value in keys.items() if value != ""}
    try:
        entry = AccountEntry.model_validate(keys)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        wrong += [_problem(each, node) for each in found]
        bad = {each["loc"][0] for each in found if each["loc"]}
        given = {key: keys[key] for key in keys if key in AccountEntry.model_fields and key not in bad}
        secret_names = None if "secrets" in bad else SecretNames.model_validate(given.get("secrets"))
    else:
        given = {key: value for key, value in entry.model_dump().items() if value is not None}
        secret_names = entry.secrets
    given.pop("secrets", None)
    return ReadAccount(name, line, given, secret_names, tuple(wrong))


def _name(content: object) -> str | None:
    if not isinstance(content, dict):
        return None
    named: dict[str, Any] = content
    for key in ("account", "seller"):
        value = named.get(key)
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,40}", value):
            return value
        if value:
            return None
    return None


def _lines_of_secrets(node: Node) -> set[int]:
    if isinstance(node, ScalarNode):
        return {node.start_mark.line + 1} if _SECRET.search(node.value) else set()
    parts: Sequence[Any] = node.value
    nodes = [one for pair in parts for one in (pair if isinstance(node, MappingNode) else (pair,))]
    return {line for one in nodes for line in _lines_of_secrets(one)}


def _problem(details: Mapping[str, Any], node: Node) -> str:
    """With the line, and never with the value: it may be a secret."""
    # A union's members are named in the location; none is a key of the file.
    location = [part for part in details["loc"] if isinstance(part, int) or part in _KEYS]
    unknown = [part for part in details["loc"] if part not in location] if details["type"] == "extra_forbidden" else []
    name = ".".join(shown(part) for part in (*location, *unknown)) or "the account"
    context = details.get("ctx", {})
    what = {
        "extra_forbidden": "is not known here",
        "missing": "is missing",
        "model_type": "must be keys with a value each",
        "list_type": "must be a list, as [A1PA6795UKMFR9, A13V1IB3VIYZZH]",
        "too_short": "must name one at least",
        "bool_parsing": "must be true or false",
    }.get(details["type"], f"must be {context['expected']}".replace("'", "") if "expected" in context else "")
    if location[:1] == ["secrets"] and len(location) > 1 and details["type"] not in ("extra_forbidden", "missing"):
        what = "must be the NAME of a variable, as ACME_REFRESH_TOKEN (what is there is not repeated here)"
    elif location in (["account"], ["seller"]) and not what:
        what = "must be letters, digits, - and _, at most 40"
    return f"line {line_of(node, location)}: {name} {what or 'cannot be read'}"


_KEYS = {*AccountEntry.model_fields, *SecretNames.model_fields}

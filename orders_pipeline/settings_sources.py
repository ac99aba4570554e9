"""Where variables come from, the nearest first: the environment, NAME_FILE, `.env`, AWS Secrets Manager.

What `.env` says itself comes before a NAME_FILE that it names. Every value is a SecretStr until it is checked, since
pydantic-settings logs what its sources gave (PYDANTIC_SETTINGS_DEBUG). What a source has to tell is a value too.
"""

from __future__ import annotations

import json
import os
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dotenv import dotenv_values
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from orders_pipeline.accounts_file import ACCOUNTS_FILE, ReadAccounts, read_accounts
from orders_pipeline.http.aws import aws_client
from orders_pipeline.in_transit import unsafe_endpoints
from orders_pipeline.secret_files import exposure

# In the state that pydantic-settings hands from source to source.
REPORTS, ACCOUNTS = "reports", "accounts"
DATABASES = ("ORDERS_DATABASE_URL", "DAGSTER_POSTGRES_URL")


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What a source could not read, what forbids every use, and what should be mended."""

    problems: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Source(PydanticBaseSettingsSource):
    """Gives all of its variables at once, and a report."""

    @abstractmethod
    def read(self) -> tuple[Mapping[str, str | None], SourceReport]:
        """The variables that this source names, and what is to be said of it."""

    def __call__(self) -> dict[str, Any]:
        values, report = self.read()
        # A line without a value, as in a copied .env.example, hides nothing that a farther source names.
        given: dict[str, Any] = {name: SecretStr(value) for name, value in values.items() if value and value.strip()}
        return {**given, REPORTS: {id(self): report}}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """No value for one field alone: groups of fields share the variables, which come all at once."""
        return None, field_name, False

    @property
    def nearer(self) -> dict[str, str]:
        """The variables of the sources before this one."""
        return variables_in(self.current_state)


class AccountsFile(Source):
    """The file of AMAZON_ACCOUNTS_FILE, read once before all else: it names the variables that others look for."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str] | None, env_file: Path) -> None:
        super().__init__(settings_cls)
        named = (os.environ if environ is None else environ).get(ACCOUNTS_FILE, "").strip()
        if not named and environ is None:
            named = (dotenv_values(env_file).get(ACCOUNTS_FILE) or "").strip()
        self.accounts = read_accounts(Path(named).expanduser()) if named else None

    def read(self) -> tuple[Mapping[str, str | None], SourceReport]:
        if self.accounts is None or self.accounts.problem is None:
            return {}, SourceReport()
        told = (self.accounts.problem,)
        return {}, SourceReport(refusals=told) if self.accounts.refused else SourceReport(problems=told)

    def __call__(self) -> dict[str, Any]:
        return {**super().__call__(), ACCOUNTS: self.accounts}


class Environment(Source):
    """The process's environment, or a mapping in its place."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._environ = environ

    def read(self) -> tuple[Mapping[str, str | None], SourceReport]:
        return self._environ, SourceReport()


class EnvFile(Source):
    """`.env`. Where others can read it, that is a warning only: a copy of .env.example may hold no secret."""

    def __init__(self, settings_cls: type[BaseSettings], file: Path) -> None:
        super().__init__(settings_cls)
        self._file = file

    def read(self) -> tuple[Mapping[str, str | None], SourceReport]:
        open_to_others = exposure(".env", self._file) if self._file.is_file() else None
        warnings = (open_to_others.sentence,) if open_to_others else ()
        # libpq reads its own variables (PG…), from the process's environment alone.
        return _without_libpq(dotenv_values(self._file)), SourceReport(warnings=warnings)


class SecretFiles(Source):
    """NAME_FILE: the path of a file that holds the value of NAME, unless a nearer source names NAME itself."""

    def __init__(self, settings_cls: type[BaseSettings], names: tuple[str, ...]) -> None:
        super().__init__(settings_cls)
        self._names = names

    def read(self) -> tuple[Mapping[str, str | None], SourceReport]:
        problems: list[str] = []
        refusals: list[str] = []
        warnings: list[str] = []
        values: dict[str, str | None] = {}
        nearer = self.nearer
        for name in self._names:
            path = nearer.get(f"{name}_FILE")
            if not path or name in nearer:
                continue
            # Without its address another database would be taken for this one: the embedded one, which is empty.
            unreadable = refusals if name in DATABASES else problems
            try:
                file = Path(path).expanduser()
                if open_to_others := exposure(f"{name}_FILE", file):
                    (refusals if open_to_others.refused else warnings).append(open_to_others.sentence)
                values[name] = file.read_text(encoding="utf-8").strip()
            except OSError as error:
                unreadable.append(f"{name}_FILE cannot be read ({error.strerror})")
            except UnicodeError:
                # Without the error: it carries the file's bytes.
                unreadable.append(f"{name}_FILE cannot be read (it is not UTF-8 text)")
        return values, SourceReport(tuple(problems), tuple(refusals), tuple(warnings))


class SecretsManager(Source):
    """The JSON object of ORDERS_SECRETS_ARN, for what is not set for this deployment alone."""

    # Sensors read the settings every few seconds, and one tick reads them several times.
    TRUSTED_SECONDS: ClassVar[float] = 300.0
    RETRY_SECONDS: ClassVar[float] = 30.0
    # When it is to be asked again, and what it said last, by secret and endpoint: its values, or why there are none.
    _answers: ClassVar[dict[tuple[str, str], tuple[float, dict[str, str] | str]]] = {}

    def read(self) -> tuple[Mapping[str, str | None], SourceReport]:
        nearer = self.nearer
        secret_id = nearer.get("ORDERS_SECRETS_ARN")
        # Nothing is asked of an endpoint that is refused, or while a secret file is.
        if not secret_id or unsafe_endpoints(nearer) or any(one.refusals for one in reports_in(self.current_state)):
            return {}, SourceReport()
        place = (secret_id, nearer.get("AWS_ENDPOINT_URL_SECRETS_MANAGER", ""))
        asked_at, answer = self._answers.get(place, (0.0, None))
        lasts = self.TRUSTED_SECONDS if isinstance(answer, dict) else self.RETRY_SECONDS
        if answer is None or time.monotonic() - asked_at >= lasts:
            answer = self._ask(place, answer)
        if isinstance(answer, str):
            return {}, SourceReport(refusals=(answer,))
        return _without_libpq(answer), SourceReport()

    def _ask(self, place: tuple[str, str], before: dict[str, str] | str | None) -> dict[str, str] | str:
        from botocore.exceptions import BotoCoreError, ClientError

        age = 0.0
        try:
            # Every sensor waits for this.
            manager = aws_client("secretsmanager", connect_seconds=2, read_seconds=5, attempts=2)
            text = manager.get_secret_value(SecretId=place[0])["SecretString"]
            answer = {str(name): str(value) for name, value in json.loads(text).items()}
        except (BotoCoreError, ClientError, KeyError, AttributeError, ValueError) as error:
            if isinstance(before, dict):
                # Away for a moment: what it said before is still the best that is known. It is asked again soon.
                answer, age = before, self.TRUSTED_SECONDS - self.RETRY_SECONDS
            else:
                # The exception's text could echo the secret's content; its type says enough.
                answer = f"ORDERS_SECRETS_ARN could not be read ({type(error).__name__}): it must be a JSON object"
        self._answers[place] = (time.monotonic() - age, answer)
        return answer


def sources(
    settings_cls: type[BaseSettings], environ: Mapping[str, str] | None, env_file: Path, names_in_files: tuple[str, ...]
) -> tuple[Source, ...]:
    """The nearest first. `environ` stands in the place of both the process's environment and `.env`."""
    accounts = AccountsFile(settings_cls, environ, env_file)
    if accounts.accounts is not None:
        names_in_files = tuple(dict.fromkeys((*names_in_files, *accounts.accounts.secret_names)))
    read: list[Source] = [accounts, Environment(settings_cls, os.environ if environ is None else environ)]
    read.append(SecretFiles(settings_cls, names_in_files))
    if environ is None:
        read += [EnvFile(settings_cls, env_file), SecretFiles(settings_cls, names_in_files)]
    return (*read, SecretsManager(settings_cls))


def variables_in(state: Mapping[str, Any]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in state.items() if isinstance(value, SecretStr)}


def accounts_in(state: Mapping[str, Any]) -> ReadAccounts | None:
    """The accounts that a file names; None where the environment names the one account."""
    return state.get(ACCOUNTS)


def reports_in(state: Mapping[str, Any]) -> list[SourceReport]:
    """The nearest source's first: pydantic-settings puts each source before those that it read earlier."""
    return list(reversed(state.get(REPORTS, {}).values()))


def _without_libpq(values: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: value for name, value in values.items() if not name.startswith("PG")}

"""What the commands print, and which errors are one sentence for a person."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from sqlalchemy.exc import DBAPIError

from orders_pipeline.audit.errors import AuditRefused
from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.database.migrate import DatabaseNewerThanCode, MigrationBlocked, MigrationOutOfOrder
from orders_pipeline.intake.queue import QueueUnavailable
from orders_pipeline.model.untrusted_text import escaped
from orders_pipeline.operations.adopt import OrdersNotAdopted
from orders_pipeline.operations.authorize import NotPossible
from orders_pipeline.operations.client_secret_rotation import RotationNotPossible
from orders_pipeline.operations.deployment import UnknownAccount
from orders_pipeline.operations.revocation import NothingRefused
from orders_pipeline.operations.serve import InstanceFileMissing
from orders_pipeline.privacy.audit_export.export import AuditExportRefused
from orders_pipeline.privacy.audit_export.targets import ExportUnavailable
from orders_pipeline.secret_files import DataFolderRefused
from orders_pipeline.settings import SettingsError
from orders_pipeline.vault.errors import VaultError
from orders_pipeline.web.sessions import SessionKeyError
from orders_pipeline.web.users import NameNotUsable, PasswordTooWeak, UsersFileError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
# Texts may hold words of others: they are no markup, and stand for no pictures.
_errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
# Errors that a person can correct print one sentence. Any other error is a defect and prints its traceback.
EXPECTED = (
    SettingsError,
    EmbeddedPostgresError,
    DataFolderRefused,
    DatabaseNewerThanCode,
    MigrationBlocked,
    MigrationOutOfOrder,
    InstanceFileMissing,
    AmazonError,
    AuditRefused,
    VaultError,
    AuditExportRefused,
    ExportUnavailable,
    OrdersNotAdopted,
    QueueUnavailable,
    UsersFileError,
    SessionKeyError,
    PasswordTooWeak,
    NameNotUsable,
    UnknownAccount,
    NotPossible,
    NothingRefused,
    RotationNotPossible,
)


def with_plain_errors(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    @functools.wraps(command)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return command(*arguments, **options)
        except EXPECTED as error:
            refuse(str(error))
        except DBAPIError as error:
            # The driver's first line names host and cause, and no password; the rest is SQLAlchemy's.
            advice = " ".join(getattr(error, "__notes__", ())) or "See ORDERS_DATABASE_URL."
            refuse(f"PostgreSQL cannot be used: {str(error.orig).strip().splitlines()[0]}. {advice}")
        except (BotoCoreError, ClientError) as error:
            refuse(f"AWS refuses or does not answer ({type(error).__name__}): run `orders-pipeline doctor`")
        raise AssertionError("unreachable")

    return run


def refuse(message: str) -> None:
    _errors.print("[bold red]error:[/]", end=" ", markup=True)
    warn(message)
    sys.exit(2)


def say(text: str) -> None:
    out.print(_shown(text))


def warn(text: str) -> None:
    _errors.print(_shown(text))


def _shown(text: str) -> str:
    """Text with nothing in it that a terminal would obey; lines stay lines."""
    return "\n".join(escaped(line) for line in text.split("\n"))

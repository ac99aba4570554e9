"""Look through what is stored, for the checks that cannot look without writing: a part of the nightly retention."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from orders_pipeline.database.connect import dagster_database_url
from orders_pipeline.operations.deployment import Deployment, ServedAccount
from orders_pipeline.privacy.check_result import CheckResult, could_not_run, merged
from orders_pipeline.privacy.checks.checks import client_secret_is_young, every_record_opens
from orders_pipeline.privacy.checks.leak_files import secret_files
from orders_pipeline.privacy.checks.leak_scan import no_copies_in_clear
from orders_pipeline.privacy.checks.stored_results import store_result
from orders_pipeline.work.progress import Notify
from orders_pipeline.work.workers import error_location

logger = logging.getLogger(__name__)

# The checks that read what was found here.
EXAMINED = ("every_record_opens", "client_secret_is_young", "no_copies_in_clear")


def examine_for_checks(deployment: Deployment, notify: Notify) -> dict[str, bool]:
    """Open every record, read Amazon's notices, and look for copies in clear; store what was found, of all accounts.

    Whether each passed, by its name. What could not be looked at is stored as that: its check is red.
    """
    database, vault, settings = deployment.database, deployment.vault, deployment.settings
    looks: Mapping[str, Callable[[], CheckResult]] = {
        "every_record_opens": lambda: every_record_opens(vault, notify=notify),
        "client_secret_is_young": lambda: client_secret_is_young(database, vault, settings),
        "no_copies_in_clear": lambda: merged({one.account_id: _copies(one, notify) for one in deployment.accounts()}),
    }
    passed: dict[str, bool] = {}
    for name in EXAMINED:
        try:
            result = looks[name]()
        except Exception as error:  # noqa: BLE001 - one that dies is red, and takes no other's word away
            # Without the error's own text, which may hold what was being read.
            logger.error("%s could not be looked at: %s", name, error_location(error))  # noqa: TRY400
            result = could_not_run(name, error)
        store_result(database, result)
        passed[name] = result.passed
    return passed


def _copies(account: ServedAccount, notify: Notify) -> CheckResult:
    home, settings = os.environ.get("DAGSTER_HOME"), account.deployment.settings
    result, _ = no_copies_in_clear(
        account.database,
        account.vault,
        account_id=account.account_id,
        dagster_url=dagster_database_url(settings),
        dagster_home=Path(home) if home else None,
        data_dir=settings.data_dir,
        secret_files=secret_files(settings, os.environ),
        notify=notify,
    )
    return result

"""Do one piece of work for each account, side by side: one account's trouble is its own.

What an account raises is noted, named and counted, and takes nothing from the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from orders_pipeline.channels.amazon.errors import AmazonError
from orders_pipeline.database.embedded import EmbeddedPostgresError
from orders_pipeline.operations.deployment import StoredAccount
from orders_pipeline.settings import SettingsError
from orders_pipeline.wms.port import WarehouseError
from orders_pipeline.work.workers import error_location

Result = TypeVar("Result")
Other = TypeVar("Other")
Account = TypeVar("Account", bound=StoredAccount)
# Of what the database works for: each has a few workers with a connection each, and the pool holds twenty.
ACCOUNTS_AT_ONCE = 4

Numbers = Mapping[str, int | str]


@dataclass(frozen=True, slots=True)
class Served(Generic[Result]):
    """What became of each account, by its id: its result, or where and how its work failed.

    Both, where the work is done in passes of which one failed.
    """

    results: Mapping[str, Result] = field(default_factory=dict[str, Result])
    defects: Mapping[str, str] = field(default_factory=dict[str, str])

    def map(self, function: Callable[[Result], Other]) -> Served[Other]:
        """The same accounts with another result each."""
        return Served({one: function(result) for one, result in self.results.items()}, self.defects)


def serve_each(
    accounts: Sequence[Account],
    work: Callable[[Account], Result],
    *,
    at_once: int = ACCOUNTS_AT_ONCE,
) -> Served[Result]:
    """Do the work for every account. Raises nothing that one account's work raises."""
    results: dict[str, Result] = {}
    defects: dict[str, str] = {}

    def serve(account: Account) -> None:
        try:
            results[account.account_id] = work(account)
        except Exception as error:  # noqa: BLE001 - one account's defect is that account's alone
            defects[account.account_id] = defect_of(error)
        account.write_counts()

    if len(accounts) == 1:
        serve(accounts[0])
    else:
        with ThreadPoolExecutor(at_once, thread_name_prefix="account") as pool:
            for account in accounts:
                pool.submit(copy_context().run, serve, account)
    return Served(results, defects)


class Watches:
    """One watch of each account at a time, that may outlast who asked for it: who waits for nothing holds up nobody.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._guard = Lock()
        self._watched: set[str] = set()

    def until_enough(
        self, accounts: Sequence[Account], work: Callable[[Account], Result], enough: Callable[[Result], bool]
    ) -> Served[Result]:
        """Begin the work of every account that is not watched, and wait until one has `enough`, or all have ended.

        What goes on then ends by itself, and its results are for nobody: it has stored what it found.
        """
        results: dict[str, Result] = {}
        defects: dict[str, str] = {}
        with self._guard:
            free = [one for one in accounts if one.account_id not in self._watched]
            self._watched |= {one.account_id for one in free}

        def watch(account: Account) -> bool:
            try:
                result = work(account)
                with self._guard:
                    results[account.account_id] = result
                return enough(result)
            except Exception as error:  # noqa: BLE001 - one account's defect is that account's alone
                with self._guard:
                    defects[account.account_id] = defect_of(error)
                return False
            finally:
                with self._guard:
                    self._watched.discard(account.account_id)

        pool = ThreadPoolExecutor(max(len(free), 1), thread_name_prefix="watch")
        try:
            left = {pool.submit(copy_context().run, watch, account) for account in free}
            while left:
                done, left = wait(left, return_when=FIRST_COMPLETED)
                if any(future.result() for future in done):
                    break
        finally:
            pool.shutdown(wait=False)
        with self._guard:
            return Served(dict(results), dict(defects))


def defect_of(error: Exception) -> str:
    """A defect by its class and line: an error's own text may hold what was being read. One made for people says it."""
    if isinstance(error, (SettingsError, EmbeddedPostgresError, AmazonError, WarehouseError)):
        return str(error)
    return error_location(error)


def add_up(numbers: Mapping[str, Numbers]) -> dict[str, int | str]:
    """All accounts' numbers as one: counts are summed; of texts, each account's is shown with its name."""
    total: Counter[str] = Counter()
    texts: dict[str, list[str]] = {}
    for account_id, each in numbers.items():
        for name, value in each.items():
            if isinstance(value, int):
                total[name] += value
            else:
                texts.setdefault(name, []).append(value if len(numbers) == 1 else f"{account_id}: {value}")
    return {**total, **{name: "; ".join(values) for name, values in texts.items()}}

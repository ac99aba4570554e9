"""Tryton's programs and a prepared database: made once a checkout, then kept.

Both lie in `.tryton/` of the checkout (ignored by git), each under the fingerprint of what it was made from, so that
another version is made beside it. Several processes may ask at once: one makes, the others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine, text

from orders_pipeline.database.embedded import EmbeddedPostgres, find_embedded, postgres_folder, start_embedded
from orders_pipeline.sandbox.day import catalogue
from warehouses.tryton.master_data import ADMINISTRATOR, MODULES

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".tryton"
REQUIREMENTS = HERE / "requirements.txt"
DATABASE = "wms"
# Installing takes ten seconds where the package index is near.
INSTALL_PATIENCE_SECONDS = 600
INITIALISE_PATIENCE_SECONDS = 300

Notify = Callable[[str], None]


class TrytonNotInstalled(Exception):
    """Tryton could not be installed or prepared; the message has the last words of the program that tried."""


def tryton_programs(notify: Notify = lambda sentence: None) -> Path:
    """The folder with `trytond` and `trytond-admin`, installed first where they are not. Raises TrytonNotInstalled."""
    folder = CACHE / f"environment-{_fingerprint(REQUIREMENTS)}"
    ready = folder / ".ready"
    if not ready.exists():
        with _only_maker("environment"):
            if not ready.exists():
                notify("installing Tryton into an environment of its own (once) …")
                _install(folder)
                ready.touch()
    return folder / "bin"


def prepared_database(fill: Callable[[Path], None], notify: Notify = lambda sentence: None) -> Path:
    """A folder with a stopped PostgreSQL with all modules and what `fill`, given its folder, puts in."""
    programs = tryton_programs(notify)
    made_from = (REQUIREMENTS, HERE / "installation.py", HERE / "master_data.py", Path(catalogue.__file__))
    folder = CACHE / f"prepared-{_fingerprint(*made_from)}"
    if not folder.exists():
        with _only_maker("prepared"):
            if not folder.exists():
                notify("preparing Tryton's database (once) …")
                _prepare(programs, folder, fill)
    return folder


def copy_database(prepared: Path, folder: Path) -> None:
    """Put a copy of the prepared server into this folder."""
    source, copy = postgres_folder(prepared), postgres_folder(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copytree(source, copy)
    if os.geteuid() == 0:
        # Under root PostgreSQL runs as a user of its own.
        owner = source.stat()
        for path in (copy, *copy.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)


def write_configuration(folder: Path, server: EmbeddedPostgres, port: int | None) -> Path:
    """The configuration of a Tryton over this server, listening on this port of this machine."""
    listen = [] if port is None else ["[web]", f"listen = 127.0.0.1:{port}"]
    socket = quote(str(server.socket_folder), safe="")
    uri = f"postgresql://postgres@/?host={socket}"
    file = folder / "trytond.conf"
    file.write_text("\n".join(["[database]", f"uri = {uri}", *listen]) + "\n", encoding="utf-8")
    return file


def clean_environment() -> dict[str, str]:
    """Nothing of ours may reach Tryton's Python, nor of the shell's Tryton."""
    ours = ("PYTHON", "PG", "TRYTON", "ORDERS_", "AMAZON_", "AWS_", "WMS_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _install(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], INSTALL_PATIENCE_SECONDS)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "-r", str(REQUIREMENTS)], INSTALL_PATIENCE_SECONDS)


def _prepare(programs: Path, folder: Path, fill: Callable[[Path], None]) -> None:
    # A short path: that of a UNIX socket may have 107 characters.
    making = CACHE / "making"
    if (left := find_embedded(making)) is not None:
        left.stop()
    shutil.rmtree(making, ignore_errors=True)
    server = start_embedded(making)
    try:
        _make_database(server)
        _initialise(programs, making, server)
        fill(making)
    finally:
        server.stop()
    making.replace(folder)


def _make_database(server: EmbeddedPostgres) -> None:
    engine = create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # Nothing here must outlive the machine: who kills Tryton does not kill its database.
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(text(f"alter system set {name} = off"))
        connection.execute(text("select pg_reload_conf()"))
        connection.execute(text(f"create database {DATABASE}"))
    engine.dispose()


def _initialise(programs: Path, folder: Path, server: EmbeddedPostgres) -> None:
    word = folder / "word"
    word.write_text(f"{ADMINISTRATOR.password}\n", encoding="utf-8")
    configuration = write_configuration(folder, server, None)
    command = [str(programs / "trytond-admin"), "-c", str(configuration), "-d", DATABASE, "-u", *MODULES]
    command += ["--activate-dependencies", "--email", "warehouse@example.com"]
    _run(command, INITIALISE_PATIENCE_SECONDS, {"TRYTONPASSFILE": str(word)})
    word.unlink()


@contextmanager
def _only_maker(what: str) -> Generator[None]:
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fingerprint(*files: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _run(command: list[str], patience_seconds: float, extra: Mapping[str, str] | None = None) -> None:
    environment = {**clean_environment(), **(extra or {})}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, and what it installed
            command, env=environment, capture_output=True, text=True, timeout=patience_seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TrytonNotInstalled(f"{Path(command[0]).name} did not end well: {error}") from error
    if done.returncode != 0:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise TrytonNotInstalled(f"{' '.join(command[:4])} ended with code {done.returncode}:\n{words}")

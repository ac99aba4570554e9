"""Who gets into the embedded server: the user of this machine who started it, and nobody else.

PostgreSQL asks the kernel who is at the other end of its UNIX socket ("peer"), so there is no password to keep. The
socket lies in a folder that others cannot enter besides: the server's own, or a short one where that path is too long
for a socket.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import tempfile
from pathlib import Path

from orders_pipeline.database.embedded_process import EmbeddedPostgresError, server_user, server_user_id

# Linux's limit for a socket's path is 107 bytes, macOS's 103.
_LONGEST_SOCKET_PATH = 103
_SOCKET = ".s.PGSQL.5432"


def write_access_rules(folder: Path) -> bool:
    """Let in the current user alone, as any user of the database; whether another rule stood there before."""
    try:
        owner = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise EmbeddedPostgresError(
            f"The user {os.geteuid()} has no name on this machine, which PostgreSQL asks for: add one to /etc/passwd, "
            "or set ORDERS_DATABASE_URL to a server of your own."
        ) from None
    rules = {
        "pg_hba.conf": (
            "# Written by orders_pipeline at each start: who starts the server, and no other user of this machine.\n"
            "local all all peer map=orders_pipeline\n"
            "local replication all peer map=orders_pipeline\n"
        ),
        "pg_ident.conf": f'# Written by orders_pipeline at each start.\norders_pipeline "{owner}" all\n',
    }
    changed = False
    for name, content in rules.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8", errors="replace") != content:
            _replace(file, content)
            changed = True
    return changed


def socket_folder_of(folder: Path) -> Path:
    """Where the server's socket goes: into its own folder, or where that is too deep into a short one of ours.

    Raises EmbeddedPostgresError if the short one is not ours alone: somebody else may have made it first.
    """
    # A comma separates folders in PostgreSQL's setting.
    if len(os.fsencode(folder / _SOCKET)) <= _LONGEST_SOCKET_PATH and not set(',"') & set(str(folder)):
        return folder
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"orders-pipeline-{digest}"
    user = server_user()
    try:
        short.mkdir(mode=0o700)
        if user is not None:
            os.chown(short, user.pw_uid, user.pw_gid)
    except FileExistsError:
        pass
    check_socket_folder(folder, short)
    return short


def check_socket_folder(folder: Path, socket_folder: Path) -> None:
    """Raises EmbeddedPostgresError unless the server alone can have its socket there: who else can, takes its place."""
    try:
        status = socket_folder.lstat()
    except FileNotFoundError:
        raise EmbeddedPostgresError(
            f"{socket_folder}, with the socket of the PostgreSQL in {folder}, is gone: run `orders-pipeline up` anew, "
            "or set ORDERS_DATA_DIR to a shorter path, and it lies there."
        ) from None
    is_its_own = stat.S_ISDIR(status.st_mode) and status.st_uid == server_user_id()
    if is_its_own and stat.S_IMODE(status.st_mode) == 0o700:
        return
    if socket_folder == folder:
        raise EmbeddedPostgresError(f"{folder} is not the server's alone: run `orders-pipeline up`, which closes it.")
    raise EmbeddedPostgresError(
        f"{socket_folder} is there already and is not this server's alone, and {folder} is too deep for a socket: "
        "remove it, or set ORDERS_DATA_DIR to a shorter path."
    )


def _replace(file: Path, content: str) -> None:
    """The file whole, or as it was; the server's own, and nobody else's to read."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(content)
        if (user := server_user()) is not None:
            os.fchown(descriptor, user.pw_uid, user.pw_gid)
    fresh.rename(file)

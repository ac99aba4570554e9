"""Whether a process is the embedded server of a folder.

A pid file outlives a crash, and its number is given to another process: of any user, with any name, to be neither
believed nor stopped. The server is known by its user, its program, and the folder that it works in.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import psutil

from orders_pipeline.database.embedded_process import server_user_id

PROGRAM = "postgres"
PID_FILE = "postmaster.pid"


def read_pid_file(folder: Path) -> tuple[int, Sequence[str]] | None:
    """The process that the folder's pid file names, with the file's lines; None if there is none that can be read."""
    try:
        lines = (folder / PID_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
        return None
    # A negative number is PostgreSQL's without a postmaster.
    return (pid, lines) if pid > 0 else None


def server_of(folder: Path, pid: int) -> psutil.Process | None:
    """The process, if it is alive and the PostgreSQL server of this folder, run by the user that ours runs as."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            uids = process.uids()
            if {uids.real, uids.effective, uids.saved} != {server_user_id()}:
                return None
            if process.status() == psutil.STATUS_ZOMBIE or Path(process.exe()).name != PROGRAM:
                return None
            return process if Path(process.cwd()).samefile(folder) else None
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError, OverflowError):
        # Not even its folder may be looked at: it is another user's.
        return None


def signal_server(folder: Path, pid: int, number: signal.Signals) -> bool:
    """Send a signal to the folder's server, looked at once more right before; whether it was still there."""
    process = server_of(folder, pid)
    if process is None:
        return False
    try:
        # psutil compares the process's start: a number that was given again in between gets no signal.
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def drop_stale_pid_file(folder: Path) -> None:
    """Remove a pid file that names a living process which is no server of this folder: PostgreSQL would wait for it.

    Only while nobody else starts the server. That no process of the one before is left, PostgreSQL sees by its memory.
    """
    named = read_pid_file(folder)
    if named is not None and psutil.pid_exists(named[0]) and server_of(folder, named[0]) is None:
        (folder / PID_FILE).unlink(missing_ok=True)

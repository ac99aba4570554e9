"""The process that works on each run, so that a run whose process was killed is known at once.

Dagster cannot tell a run that works from one that was killed with its code server, or while PostgreSQL was away: both
are STARTED, and hold a slot of the run queue, until a time-out of minutes. A run therefore notes its process when it
starts. Whoever asks on the same machine looks whether that process lives: without a connection, a thread or a
heartbeat, so neither a restart of PostgreSQL nor a pooler nor a busy machine makes a run look dead.

About a process of another machine nothing is known here. There the launcher (Docker, Kubernetes) watches its container.
But where runs are processes beside the code server, another machine is only what this one was before it started again
(a container has numbers of its own each time): such a run went with the code server that had started it.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil
from sqlalchemy import Connection, text

_PROC = Path("/proc")
# After it no run is asked about: every run has ended by then.
KEPT_FOR = "1 day"
# A code server starts no run before it has loaded this.
_LOADED_AT = time.monotonic()


def note_worker(connection: Connection, run_id: str) -> None:
    """This process works on the run. It may say so twice, and others may beside it."""
    connection.execute(
        text("delete from pipeline.run_workers where noted_at < clock_timestamp() - cast(:kept as interval)"),
        {"kept": KEPT_FOR},
    )
    connection.execute(
        text("""
            insert into pipeline.run_workers (run_id, machine, process) values (:run_id, :machine, :process)
            on conflict do nothing
        """),
        {"run_id": run_id, "machine": this_machine(), "process": process_name(os.getpid())},
    )


def worker_is_gone(connection: Connection, run_id: str, *, launched_here: bool) -> bool:
    """Whether nobody works on the run: no process noted it, or all that did have ended.

    `launched_here`: runs are processes beside this code server. Then one of another machine has ended if it was noted
    before this code server began; else nothing is said of it.
    """
    workers = connection.execute(
        text("""
            select machine, process,
            noted_at < clock_timestamp() - make_interval(secs => :age) as is_of_code_server_before
            from pipeline.run_workers where run_id = :run_id
        """),
        {"run_id": run_id, "age": time.monotonic() - _LOADED_AT},
    ).all()
    machine = this_machine()
    return all(
        not _is_alive(row.process) if row.machine == machine else launched_here and row.is_of_code_server_before
        for row in workers
    )


def this_machine() -> str:
    """What a process number means something in: this boot of this kernel, and this container's own numbers."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return f"{platform.node()} {psutil.boot_time():.0f}"


def process_name(pid: int) -> str | None:
    """The process's number and the moment of its start, for numbers are given again; None if it has ended."""
    try:
        # After the command, which may hold anything, in brackets: the state, and as 20th the start in ticks since boot.
        state, *rest = (
            (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        return None if state in "ZX" else f"{pid} {rest[18]}"
    except FileNotFoundError:
        if (_PROC / "self" / "stat").exists():
            return None
    except ProcessLookupError:
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{pid} {process.create_time():.1f}"
    except psutil.NoSuchProcess:
        return None


def _is_alive(process: str) -> bool:
    return process_name(int(process.split()[0])) == process

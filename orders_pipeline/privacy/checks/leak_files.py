"""Looking through files for leaks: Dagster's home, the data folder with PostgreSQL's own log, and logs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dotenv import dotenv_values

from orders_pipeline.privacy.checks.leak_decoding import unpack, unpacker_for
from orders_pipeline.privacy.checks.leak_scanner import MAY_NOT_BE_READ, TIME_WAS_UP, LeakScan, LeakScanner
from orders_pipeline.settings import Settings, project_root
from orders_pipeline.vault.providers.choice import KEYRING_FILE_NAME

CHUNK_BYTES = 1 << 20
# What lies across two chunks is whole in the second, also encoded: base64 of a compressed order is shorter.
OVERLAP_BYTES = 1 << 16
# A larger file waits until all others were looked at, and shares what time is left.
LARGE_BYTES = 64 << 20
# Where Dagster writes, in a DAGSTER_HOME that is a repository as well.
DAGSTER_FOLDERS = ("storage", "history", "schedules", "logs", "compute_logs", ".logs_queue", ".telemetry")
REPOSITORY_MARKS = ("pyproject.toml", "workspace.yaml", ".git")
# Of a PostgreSQL server's folder: its tables are looked through as tables.
SERVER_LOGS = ("log", "pg_log")
# What the names of our settings begin with.
OURS = ("AMAZON_", "DAGSTER_", "ORDERS_", "SLACK_", "WMS_")


@dataclass(slots=True)
class FileTree:
    """The files below some folders, walked as often as one likes. `without`: secrets' own files."""

    folders: Sequence[Path]
    without: frozenset[Path] = frozenset()
    # What the newest walk met that cannot be looked at.
    closed_folders: set[str] = field(default_factory=set[str])
    links: int = 0

    def __iter__(self) -> Iterator[tuple[Path, Path]]:
        """(folder, file), each file once, also where one folder lies within another."""
        self.links = 0
        for folder in _outermost(self.folders):
            if folder.is_file():
                yield folder, folder
            else:
                yield from ((folder, path) for path in self._below(folder))

    def _below(self, folder: Path) -> Iterator[Path]:
        for parent, folders, names in os.walk(folder, onerror=lambda error: self._closed(folder, error)):
            self.links += sum((Path(parent) / name).is_symlink() for name in folders)
            if "PG_VERSION" in names:
                folders[:] = [name for name in folders if name in SERVER_LOGS]
                names = [name for name in names if name in SERVER_LOGS or name.endswith(".log")]
            for name in sorted(names):
                path = Path(parent) / name
                if path.is_symlink():
                    self.links += 1
                elif path.is_file() and path.resolve() not in self.without:
                    yield path

    def _closed(self, folder: Path, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self.closed_folders.add(str(Path(error.filename).relative_to(folder)))


def dagster_folders(home: Path) -> list[Path]:
    """Where Dagster keeps files: all of DAGSTER_HOME, or its own folders where it is a repository too."""
    if not is_repository(home):
        return [home]
    return [home / name for name in DAGSTER_FOLDERS if (home / name).is_dir()] + sorted(home.glob("*.log"))


def is_repository(folder: Path) -> bool:
    return any((folder / name).exists() for name in REPOSITORY_MARKS)


def secret_files(settings: Settings, environ: Mapping[str, str]) -> list[Path]:
    """Where keys and credentials are kept: they are meant to be in clear, or as good as, and are not looked into."""
    env_file = Path(environ.get("ORDERS_ENV_FILE") or project_root() / ".env")
    named = {**dotenv_values(env_file), **environ}
    files = [Path(path) for name, path in named.items() if path and name.endswith("_FILE") and name.startswith(OURS)]
    keyring = settings.keyring_file or settings.data_dir / KEYRING_FILE_NAME
    return [env_file, keyring, *(path.expanduser() for path in files)]


def scan_files(
    tree: FileTree, scanner: LeakScanner, scan: LeakScan, *, ends: float, clock: Callable[[], float]
) -> None:
    """Look through every file and its name: the large ones last, with a share each of the time that is left."""
    large: list[tuple[Path, str, int]] = []
    for folder, path in tree:
        where = _place(path, folder, scanner, scan)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue  # Dagster removes its files when it likes
        if size > LARGE_BYTES:
            large.append((path, where, size))
        elif clock() > ends:
            scan.not_scanned["files that came after", TIME_WAS_UP] += 1
        else:
            _scan_file(path, where, size, scanner, scan, ends, clock)
    for number, (path, where, size) in enumerate(large):
        share_ends = clock() + (ends - clock()) / (len(large) - number)
        _scan_file(path, where, size, scanner, scan, share_ends, clock)
    for name in sorted(tree.closed_folders):
        shown = "(a name that is not shown)" if scanner.kinds_in(name) else name
        scan.not_scanned[f"folder {shown}", MAY_NOT_BE_READ] += 1
    if tree.links:
        scan.left_out.append(f"{tree.links} symbolic links are not followed")


def _place(path: Path, folder: Path, scanner: LeakScanner, scan: LeakScan) -> str:
    """The file by its name below the folder, unless the name itself is somebody's."""
    name = str(path.relative_to(folder)) if path != folder else path.name
    kinds = scanner.kinds_in(name)
    for kind in kinds:
        scan.found["the name of a file", kind] += 1
    return "file (a name that is not shown)" if kinds else f"file {name}"


def _scan_file(
    path: Path, where: str, size: int, scanner: LeakScanner, scan: LeakScan, ends: float, clock: Callable[[], float]
) -> None:
    scan.files += 1
    carried = b""
    try:
        with path.open("rb") as file:
            for chunk in _contents(file, size, where, scan):
                if clock() > ends:
                    scan.not_scanned[where, TIME_WAS_UP] += 1
                    return
                scan.bytes += len(chunk)
                scanner.examine(_whole_characters(carried + chunk), where)
                carried = (carried + chunk)[-OVERLAP_BYTES:]
    except FileNotFoundError:
        return
    except OSError:
        scan.not_scanned[where, MAY_NOT_BE_READ] += 1


def _contents(file: BinaryIO, size: int, where: str, scan: LeakScan) -> Iterator[bytes]:
    """The file's chunks; what a large compressed one holds, unpacked: a small one is unpacked where it is looked at."""
    beginning = file.read(16)
    file.seek(0)
    unpacker = unpacker_for(beginning) if size > CHUNK_BYTES else None
    rest = b""

    def read(most: int) -> bytes:
        nonlocal rest
        taken, rest = (rest[:most], rest[most:]) if rest else (file.read(most), b"")
        return taken

    while unpacker is not None:
        empty = True
        for block in unpack(read, unpacker):
            empty = False
            yield block
        if empty and not unpacker.eof:
            file.seek(0)  # it only began like one
            break
        if not unpacker.eof:
            scan.not_scanned[where, "its compression is damaged or cut off"] += 1
            return
        # The next member, or what somebody wrote behind the last.
        rest = unpacker.unused_data + rest
        rest = rest or file.read(CHUNK_BYTES)
        unpacker = unpacker_for(rest)
    if rest:
        yield rest
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _whole_characters(data: bytes) -> bytes:
    """Without the parts of characters at both ends, which would make the whole no text."""
    start = next((place for place, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
    for back, byte in enumerate(reversed(data[-3:]), 1):
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[start : len(data) - back] if size > back else data[start:]
        if byte < 0x80:
            break
    return data[start:]


def _outermost(folders: Sequence[Path]) -> list[Path]:
    resolved = list(dict.fromkeys(folder.resolve() for folder in folders))
    return [one for one in resolved if not any(one != other and one.is_relative_to(other) for other in resolved)]

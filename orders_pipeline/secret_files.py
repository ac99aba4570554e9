"""Whether a file that holds a secret, or the data folder, is open to others, as ssh asks of a private key.

A container's secrets are another matter: Docker and Kubernetes mount them read-only, or owned by root, and often
readable by all, where all is one container. Their mode is not always the deployment's to choose, so they are warned of.
"""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path


class DataFolderRefused(Exception):
    """Others own the data folder, or can change what is in it; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """A file that others can read or change. `refused`: a secret in it must not be used."""

    sentence: str
    refused: bool


def exposure(name: str, path: Path, *, holds_a_secret: bool = True) -> Exposure | None:
    """How the file that the setting `name` names is open to others; None if it is not. Raises OSError.

    Without a secret in it only who can change it counts. A folder above it that only its owner may enter keeps it
    closed, whatever its own mode is.
    """
    file = path.resolve(strict=True)
    status = file.stat()
    mode = stat.S_IMODE(status.st_mode)
    mend = f"run `chmod 600 {shlex.quote(str(file))}`"
    if status.st_uid not in (0, os.geteuid()):
        return Exposure(f"{name}: {file} belongs to another user, who can change it: make it your own", refused=True)
    if not mode & 0o077 or any(_keeps_others_out(folder) for folder in file.parents):
        return None
    if mode & 0o022:
        return Exposure(f"{name}: {file} can be changed by others than its owner: {mend}", refused=True)
    if not mode & 0o044 or not holds_a_secret:
        return None
    if (status.st_uid == 0 and os.geteuid() != 0) or os.statvfs(file).f_flag & os.ST_RDONLY:
        return Exposure(f"{name}: {file} can be read by every user of this machine or container", refused=False)
    return Exposure(f"{name}: {file} can be read by others than its owner: {mend}", refused=True)


def close_data_folder(folder: Path) -> None:
    """Close the data folder to others; keys, sessions and the embedded server are in it.

    Raises DataFolderRefused if it belongs to another user, or others can change it and we cannot close it; OSError.
    """
    status = folder.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise DataFolderRefused(
            f"The data folder {folder} belongs to another user, who can change what is in it: make it your own "
            "(chown), or set ORDERS_DATA_DIR to a folder of yours."
        )
    if status.st_uid == os.geteuid():
        if status.st_mode & 0o077:
            folder.chmod(0o700)
    elif status.st_mode & 0o022:
        raise DataFolderRefused(
            f"The data folder {folder} is root's, and others can change what is in it: make a folder of your own in it "
            "and set ORDERS_DATA_DIR to that, or have its mode set to 0755."
        )


def _keeps_others_out(folder: Path) -> bool:
    status = folder.stat()
    return status.st_uid in (0, os.geteuid()) and not stat.S_IMODE(status.st_mode) & 0o011

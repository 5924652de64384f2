"""Whether a file lies on a network file system, where SQLite's WAL does not work between machines: they share no memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["network_file_system"]

_MOUNTS: Final = Path("/proc/self/mountinfo")  # Linux, see proc(5)
_KINDS: Final = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs", "virtiofs"),
        *(f"fuse.{kind}" for kind in ("ceph", "glusterfs", "s3fs", "sshfs")),
    )
)


def network_file_system(path: str) -> str | None:
    """The kind of network file system that a file is on; None where it is on none, or nobody says (elsewhere than on Linux)."""
    try:
        device = os.stat(path).st_dev  # noqa: PTH116 - as in `identity`
        lines = _MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    name = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        mount, _, source = line.partition(" - ")
        if mount.split()[2:3] == [name] and (kind := source.split(maxsplit=1)[0]) in _KINDS:
            return kind
    return None

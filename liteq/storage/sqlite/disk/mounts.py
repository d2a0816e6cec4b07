"""The mounts: what file system the database is on, and whether it is mounted without its folder."""

from __future__ import annotations

from liteq.exceptions import StorageUnavailable

__all__ = ["UNSAFE", "check", "file_system"]

# WAL needs memory that all its users share, and POSIX locks that hold: neither is to be had over a network,
NETWORK = {
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.davfs2", "fuse.gcsfuse",
    "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs4", "ocfs2", "smb2", "smb3", "smbfs", "webdav",
}  # fmt: skip
# nor between a virtual machine and its host: Docker Desktop, VirtualBox, VMware, Parallels, WSL.
SHARED = {
    "drvfs", "fakeowner", "fuse.grpcfuse", "fuse.osxfs", "fuse.prl_fs", "fuse.vboxsf", "fuse.vmhgfs-fuse", "grpcfuse",
    "osxfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs",
}  # fmt: skip
UNSAFE = NETWORK | SHARED


def check(path: str, allow_network: bool) -> None:
    """Refuse a file whose log would lie elsewhere, or get corrupted. Raises StorageUnavailable."""
    if any(point == path for point, _ in _mounts()):
        raise StorageUnavailable(
            f"{path} is mounted alone, so its write-ahead log would lie in another folder here than for other "
            "processes, and messages be lost: mount the folder that it is in"
        )
    kind = file_system(path)
    if allow_network or kind not in UNSAFE:
        return
    where = "a network file system" if kind in NETWORK else "a file system that a virtual machine shares with its host"
    raise StorageUnavailable(
        f"{path} lies on {where} ({kind}), where SQLite's write-ahead log gets corrupted: move it to "
        "a local disk (with Docker: a volume), or set `allow_network_filesystem` if one machine alone uses it"
    )


def file_system(path: str) -> str:
    """The type of the file system that `path` is on, as the kernel calls it; "" where it cannot be told."""
    best = ("", "")
    for point, kind in _mounts():
        inside = point in ("/", path) or path.startswith(point + "/")
        if inside and len(point) >= len(best[0]):  # a later mount at one point hides the earlier
            best = (point, kind)
    return best[1]


def _mounts() -> list[tuple[str, str]]:
    """Each mount point of this process's, with the type of its file system; [] where it cannot be told."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            return [(_unescape(fields[1]), fields[2]) for fields in map(str.split, mounts) if len(fields) > 2]
    except OSError:
        return []


def _unescape(field: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field

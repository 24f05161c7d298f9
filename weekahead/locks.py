"""One folder, one writer: a lock that its process alone holds and that vanishes with it.

The kernel holds the lock (`flock`), not the file: a file left by a process that was killed locks
nothing. NFS passes the lock on to its server, so it holds between machines. On a file system
without locks, and on Windows, a command says that it cannot keep another one out, and goes on.
"""

import contextlib
import errno
import logging
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from weekahead.files import unwritable, write_all

log = logging.getLogger(__name__)

LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_REPLACED_TRIES = 20
_PROBE_BYTES = 4096
_held: set[int] = set()
"""File descriptors of the locks of this process."""


def _close_in_child() -> None:
    """A forked worker must not keep the lock of a process that has died."""
    for handle in _held:
        with contextlib.suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def sole_writer(folder: Path) -> Generator[None]:
    """Make `folder` if it is absent, and be the only process that writes into it.

    Raises BlockingIOError, naming the process that writes there now, and OSError if nothing can be
    written there. A folder that was made and stays empty is removed again.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        handle = _take(folder)
    except OSError as error:
        _remove_empty(made)
        if isinstance(error, BlockingIOError):
            raise
        raise unwritable(folder, error) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a folder that the user has removed
            (folder / LOCK).unlink()
        _held.discard(handle)
        os.close(handle)
        _remove_empty(made)


def check_writable(folder: Path) -> None:
    """Raise OSError naming `folder` if no file can be written into it; nothing is left behind.

    For commands that may share a folder with another one: their files are whole or absent.
    """
    probe = folder / f".{os.getpid()}.probe"
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with probe.open("wb", buffering=0) as file:
            write_all(file, bytes(_PROBE_BYTES))
    except OSError as error:
        raise unwritable(folder, error) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
        _remove_empty(made)


def check_appendable(path: Path) -> None:
    """Raise OSError naming `path` or its folder if no row can be added to it; nothing is left."""
    check_writable(path.parent)
    if path.exists():
        try:
            path.open("ab").close()
        except OSError as error:
            raise unwritable(path, error) from None


def writer_of(folder: Path) -> str | None:
    """The process that writes into `folder` now, such as "process 41"; None if there is none.

    It needs no right to write there.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(handle)
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def _take(folder: Path) -> int:
    """The descriptor of the folder's lock. Raises OSError; BlockingIOError if it is taken."""
    for _ in range(_REPLACED_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOCK
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(handle, folder)
            if not _is_file_at(path, handle):  # its last owner removed it in this moment
                os.close(handle)
                continue
            _write_holder(handle, path)
        except OSError:
            os.close(handle)
            raise
        _held.add(handle)
        return handle
    raise OSError(errno.EBUSY, f"its {LOCK} is replaced all the time")


def _write_holder(handle: int, path: Path) -> None:
    """Write who holds the lock into its file. Raises OSError and removes it if the disk is full."""
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()} {platform.node()}\n".encode())
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _lock(handle: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:
        log.warning("%s: this system has no file locks; let only one command write there", folder)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(
            f"{folder} is being written by {_holder(handle)}: wait for it, stop it, or choose "
            "another folder (another RUN)"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning(
            "%s is on a file system without locks (%s); let only one command write there",
            folder,
            error.strerror,
        )


def _holder(handle: int) -> str:
    words = os.pread(handle, 200, 0).decode(errors="replace").split()
    if not words or not words[0].isdecimal():
        return "another process"
    elsewhere = f" on {words[1]}" if words[1:] and words[1] != platform.node() else ""
    return f"process {words[0]}{elsewhere}"


def _is_file_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False


def _remove_empty(folders: list[Path]) -> None:
    """Remove these folders, the innermost first, as long as they are empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()

"""`FileLock`: a lock of the operating system that one process holds, and that ends with its process."""

from __future__ import annotations

import os
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Final

# All locks of this process. A forked child closes its copies of the files: otherwise the child would hold the lock
# when its parent has ended.
_locks: Final[weakref.WeakSet[FileLock]] = weakref.WeakSet()


class FileLock:
    """A lock on a file that holds nothing. Two locks in one process exclude each other too.

    Args:
        path: the file. It is made if it is not there, and never removed: a removed file could be locked twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        _locks.add(self)

    def acquire(self) -> bool:
        """Take the lock if nobody holds it; return whether this object holds the lock now.

        Raises:
            OSError: the file cannot be opened.
        """
        if self._file is None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            if not _lock(file):
                os.close(file)
                return False
            self._file = file
        return True

    def release(self) -> None:
        """Give the lock back. Does nothing if this object does not hold it."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def forget(self) -> None:
        """Close the copy of the file that a forked child has inherited. The parent still holds the lock."""
        self.release()


def is_locked(path: Path) -> bool:
    """Return whether somebody holds the lock on a file."""
    if not path.exists():
        return False
    probe = FileLock(path)
    try:
        return not probe.acquire()
    except OSError:
        return False
    finally:
        probe.release()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        with suppress(OSError):
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            return True
        return False

else:
    import fcntl

    def _lock(file: int) -> bool:
        # `flock` and not `lockf`: the latter does not exclude within one process, and a process loses it with the
        # first file descriptor of the same file that it closes.
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _forget_all() -> None:
        for lock in list(_locks):
            lock.forget()

    os.register_at_fork(after_in_child=_forget_all)

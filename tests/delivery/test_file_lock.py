"""The lock of the operating system that one process holds: on Windows too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from signalr_sdk.delivery.file_lock import FileLock, is_locked

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from signalr_sdk.delivery.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def test_one_object_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    one, two = FileLock(path), FileLock(path)
    assert one.acquire()
    assert one.acquire()
    assert is_locked(path)
    assert not two.acquire()
    one.release()
    one.release()
    assert two.acquire()
    two.release()
    assert not is_locked(path)


def test_it_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "True\n"
    lock = FileLock(path)
    assert not lock.acquire()
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()
    assert lock.acquire()
    lock.release()

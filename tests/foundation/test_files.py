"""A file is all old or all new, and a folder has one owner at a time."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from foundation import files
from foundation.errors import FolderBusy
from foundation.files import exclusive, write_atomically

HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from foundation.files import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def full_disk(*_):
    raise OSError(28, "no space left on device")


def test_content_replaces_content(tmp_path):
    path = tmp_path / "state"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_for_its_owner_only(tmp_path):
    write_atomically(tmp_path / "secret", b"x")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("place", ["fsync", "replace", "open"])
def test_a_fault_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, place):
    path = tmp_path / "state"
    write_atomically(path, b"old")
    with monkeypatch.context() as fault:
        owner = Path if place == "replace" else files.os
        fault.setattr(owner, place, full_disk)
        with pytest.raises(OSError, match="no space"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    path = tmp_path / "state"
    write_atomically(path, b"old")
    with monkeypatch.context() as fault:
        fault.setattr(files.os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_and_folder_are_flushed_before_success_is_told(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, Path.replace

    def flushed(handle):
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "content")
        fsync(handle)

    def replaced(self, target):
        done.append("replace")
        return replace(self, target)

    monkeypatch.setattr(files.os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", replaced)
    write_atomically(tmp_path / "state", b"x")
    assert done == ["content", "replace", "folder"]


def test_the_lock_excludes_and_is_freed_on_leaving(tmp_path):
    with exclusive(tmp_path), pytest.raises(FolderBusy), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass


def test_the_lock_is_freed_by_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        raise ZeroDivisionError
    with exclusive(tmp_path):
        pass


def test_the_lock_excludes_another_process_and_dies_with_it(tmp_path):
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(FolderBusy), exclusive(tmp_path):
                pass
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
    with exclusive(tmp_path):
        pass

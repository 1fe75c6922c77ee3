"""A pair of journal and checkpoint: whole or the one before, and refused where altered."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foundation.errors import CheckpointFailed, FolderUnknown, SourceUnreadable
from server import checkpoint
from server.checkpoint import JOURNAL, Journal, RoundRecord

FRESH = Journal(run="ab" * 16, plan="0" * 64)
WRITES = ("open", "fsync", "replace")


def values(number):
    return {"parameters": np.full(3, number, dtype=np.float32), "tail": np.full(3, number / 2)}


@pytest.fixture
def pair(tmp_path):
    """A folder with the checkpoint of round 0, and its journal."""
    return tmp_path, checkpoint.write(tmp_path, FRESH.model_copy(update={"round": 0}), values(0))


def assert_holds(folder, journal, expected):
    kept, arrays = checkpoint.read(folder)
    assert kept == journal
    assert set(arrays) == set(expected)
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    arrays=st.dictionaries(
        st.sampled_from(["scale", "parameters", "tail", "counts"]),
        hnp.arrays(
            st.sampled_from([np.dtype("<f4"), np.dtype("<f8")]), hnp.array_shapes(max_dims=4, min_side=1)
        ),
        min_size=1,
    ),
    number=st.integers(0, 10_000),
)
def test_what_is_written_is_read(tmp_path, arrays, number):
    record = RoundRecord(
        kind="train", round=number, attempt=1, cohort=("a", "b"), missing=("c",), seconds=0.5
    )
    journal = FRESH.model_copy(
        update={"round": number, "history": (record,), "upstream": {"a": {"train": (1, 9)}}}
    )
    written = checkpoint.write(tmp_path, journal, arrays)
    assert_holds(tmp_path, written, arrays)


def test_one_checkpoint_is_kept(pair):
    folder, journal = pair
    for number in (1, 2):
        journal = checkpoint.write(folder, journal.model_copy(update={"round": number}), values(number))
    assert sorted(path.name for path in folder.iterdir()) == [JOURNAL, "round-000002.safetensors"]


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_at_any_write_leaves_the_pair_before(pair, monkeypatch, call, nth):
    folder, before = pair
    fail(monkeypatch, call, nth if call != "fsync" else 2 * nth - 1)
    with pytest.raises(CheckpointFailed) as caught:
        checkpoint.write(folder, before.model_copy(update={"round": 1}), values(1))
    monkeypatch.undo()
    assert caught.value.exit_code == 5
    assert_holds(folder, before, values(0))
    assert not list(folder.glob(".*.new"))
    after = checkpoint.write(folder, before.model_copy(update={"round": 1}), values(1))
    assert_holds(folder, after, values(1))


@pytest.mark.parametrize("flush", [2, 4])
def test_a_folder_that_cannot_be_flushed_leaves_a_whole_pair(pair, monkeypatch, flush):
    folder, before = pair
    fail(monkeypatch, "fsync", flush)
    with pytest.raises(CheckpointFailed):
        checkpoint.write(folder, before.model_copy(update={"round": 1}), values(1))
    monkeypatch.undo()
    journal, arrays = checkpoint.read(folder)
    assert journal.round in (0, 1)
    np.testing.assert_array_equal(arrays["tail"], values(journal.round)["tail"])


def test_the_journal_alone_says_a_full_disk_too(pair, monkeypatch):
    folder, before = pair
    fail(monkeypatch, "replace", 1)
    with pytest.raises(CheckpointFailed):
        checkpoint.write_state(folder, before.model_copy(update={"state": "failed"}))
    assert_holds(folder, before, values(0))


def test_a_crash_between_checkpoint_and_journal_leaves_the_pair_before(pair, monkeypatch):
    folder, before = pair

    class Crashed(BaseException):
        """The process dies."""

    def crash(*_):
        raise Crashed

    monkeypatch.setattr(checkpoint, "write_state", crash)
    with pytest.raises(Crashed):
        checkpoint.write(folder, before.model_copy(update={"round": 1}), values(1))
    assert (folder / "round-000001.safetensors").is_file()
    assert_holds(folder, before, values(0))


@pytest.mark.parametrize("damage", ["cut", "flip", "swap", "gone"])
def test_a_checkpoint_that_is_not_the_journals_is_refused(pair, damage):
    folder, journal = pair
    path = folder / journal.checkpoint
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[:-3])
        case "flip":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "swap":
            checkpoint.write(folder / "..", journal, values(5))
            (folder / ".." / path.name).replace(path)
        case "gone":
            path.unlink()
    with pytest.raises(SourceUnreadable):
        checkpoint.read(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run": 1}', b"\xff\xfe"])
def test_a_cut_journal_is_refused(pair, content):
    folder, _ = pair
    (folder / JOURNAL).write_bytes(content)
    with pytest.raises(SourceUnreadable):
        checkpoint.read(folder)


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(FolderUnknown):
        checkpoint.read(tmp_path)


def test_a_run_that_has_begun_has_no_values(tmp_path):
    checkpoint.write_state(tmp_path, FRESH)
    assert checkpoint.read(tmp_path) == (FRESH, {})


def fail(monkeypatch, call, nth):
    """Makes the nth such call of the file layer raise ENOSPC."""
    count = 0
    owner, name = {"open": (os, "open"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[call]
    real = getattr(owner, name)

    def full(*arguments, **named):
        nonlocal count
        is_write = call != "open" or arguments[1] & os.O_WRONLY
        count += bool(is_write)
        if is_write and count == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, full)

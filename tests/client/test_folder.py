"""A region's folder: made whole, held by one process, its facts fixed for its life."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

import client.folder
import foundation.keys
from client.folder import make_folder, open_folder, require_same
from client.holdout import KeyedShare, PublicFold
from foundation import files
from foundation.errors import FolderBusy, FolderMismatch, FolderUnknown, SettingsInvalid, UsageWrong

REPOSITORY = Path(__file__).resolve().parents[2]
POLICY = 'purposes = ["retention"]\n'


@pytest.fixture
def manifest(small):
    return small.manifest("eu").read_text()


def test_only_the_owner_can_read_keys_and_settings(eu_folder):
    private = ("keys/identity.key", "keys/subject.key", "region.toml", "policy.toml", "state.sqlite", ".lock")
    for name in private:
        if (eu_folder / name).exists():
            assert stat.S_IMODE((eu_folder / name).stat().st_mode) == 0o600, name
    for folder in (eu_folder, eu_folder / "keys", eu_folder / "models"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_two_folders_have_different_keys(tmp_path, manifest):
    for name in ("one", "two"):
        make_folder(tmp_path / name, manifest=manifest, policy=POLICY)
    with open_folder(tmp_path / "one") as one, open_folder(tmp_path / "two") as two:
        assert one.keys.public != two.keys.public
        assert one.keys.subject_secret != two.keys.subject_secret


def test_keys_stay_the_same_when_a_folder_is_opened_again(eu_folder):
    with open_folder(eu_folder) as folder:
        public = folder.keys.public
    with open_folder(eu_folder) as folder:
        assert folder.keys.public == public


def test_a_folder_is_open_once_in_a_process(eu_folder):
    with open_folder(eu_folder), pytest.raises(FolderBusy), open_folder(eu_folder):
        pass
    with open_folder(eu_folder):
        pass


def test_a_second_process_is_refused_until_the_first_is_gone(eu_folder):
    script = (
        "import sys; from pathlib import Path; from foundation.files import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, eu_folder],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FolderBusy) as refusal, open_folder(eu_folder):
            pass
        assert refusal.value.code == "FP-210"
        other.kill()
        other.wait()
    with open_folder(eu_folder):
        pass


def test_what_is_no_region_folder_is_not_opened_and_not_written_to(tmp_path):
    with pytest.raises(FolderUnknown), open_folder(tmp_path):
        pass
    with pytest.raises(FolderUnknown), open_folder(tmp_path / "missing"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_made_over_another(eu_folder, manifest):
    before = (eu_folder / "keys" / "identity.key").read_bytes()
    with pytest.raises(FolderUnknown):
        make_folder(eu_folder, manifest=manifest, policy=POLICY)
    assert (eu_folder / "keys" / "identity.key").read_bytes() == before


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ("manifest", "region = 1"),
        ("manifest", "not toml ["),
        ("policy", "purposes = []"),
        ("policy", 'purposes = ["retention"]\nunknown = 1'),
    ],
)
def test_settings_with_faults_leave_no_file_behind(tmp_path, manifest, broken, text):
    texts = {"manifest": manifest, "policy": POLICY} | {broken: text}
    with pytest.raises(SettingsInvalid):
        make_folder(tmp_path / "eu", **texts)
    assert not (tmp_path / "eu").exists()
    make_folder(tmp_path / "eu", manifest=manifest, policy=POLICY)
    with open_folder(tmp_path / "eu") as folder:
        assert folder.region == "eu"


def test_settings_broken_later_are_told_and_do_not_keep_the_lock(eu_folder):
    kept = (eu_folder / "policy.toml").read_text()
    (eu_folder / "policy.toml").write_text("purposes = []")
    for _ in range(2):
        with pytest.raises(SettingsInvalid), open_folder(eu_folder):
            pass
    (eu_folder / "policy.toml").write_text(kept)
    with open_folder(eu_folder):
        pass


def test_settings_with_faults_leave_what_was_there_as_it_was(tmp_path, manifest):
    (tmp_path / "policy.toml").write_text("# mine")
    for text in ("x = 1", manifest):
        with pytest.raises((SettingsInvalid, FolderUnknown)):
            make_folder(tmp_path, manifest=text, policy=POLICY)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["policy.toml"]
    assert (tmp_path / "policy.toml").read_text() == "# mine"


def test_a_folder_that_holds_other_things_keeps_them_and_becomes_private(tmp_path, manifest):
    path = tmp_path / "eu"
    path.mkdir(mode=0o755)
    (path / "notes.txt").write_text("mine")
    make_folder(path, manifest=manifest, policy=POLICY)
    assert (path / "notes.txt").read_text() == "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_real_folder_has_no_fold(tmp_path, manifest):
    with pytest.raises(UsageWrong):
        make_folder(tmp_path / "eu", manifest=manifest, policy=POLICY, fold=1)
    assert not (tmp_path / "eu").exists()


@pytest.mark.parametrize("place", ["make_keys", "open_database", "_upgrade"])
def test_a_half_made_folder_is_not_opened_and_can_be_made_again(tmp_path, manifest, monkeypatch, place):
    def full(*_, **__):
        raise OSError(28, "disk full")

    with monkeypatch.context() as patched:
        patched.setattr(client.folder, place, full)
        with pytest.raises(OSError, match="disk full"):
            make_folder(tmp_path / "eu", manifest=manifest, policy=POLICY)
    with pytest.raises(FolderUnknown), open_folder(tmp_path / "eu"):
        pass
    make_folder(tmp_path / "eu", manifest=manifest, policy=POLICY)
    with open_folder(tmp_path / "eu") as folder:
        assert folder.region == "eu"


@pytest.mark.parametrize("cut_at", [".making", "identity.key", "subject.key", "policy.toml", "region.toml"])
def test_a_folder_whose_making_was_cut_at_any_file_can_be_made_again(tmp_path, manifest, monkeypatch, cut_at):
    write = files.write_atomically

    def cut(path, content):
        if path.name == cut_at:
            raise OSError(28, "disk full")
        write(path, content)

    with monkeypatch.context() as patched:
        for writer in (client.folder.files, foundation.keys):
            patched.setattr(writer, "write_atomically", cut)
        with pytest.raises(OSError, match="disk full"):
            make_folder(tmp_path / "eu", manifest=manifest, policy=POLICY)
    with pytest.raises(FolderUnknown), open_folder(tmp_path / "eu"):
        pass
    make_folder(tmp_path / "eu", manifest=manifest, policy=POLICY)
    with open_folder(tmp_path / "eu") as folder:
        assert folder.region == "eu"


def test_a_folder_without_a_key_is_not_opened(eu_folder):
    (eu_folder / "keys" / "subject.key").unlink()
    with pytest.raises(FolderUnknown), open_folder(eu_folder):
        pass


def test_a_cut_key_is_not_used(eu_folder):
    (eu_folder / "keys" / "subject.key").write_bytes(b"short")
    with pytest.raises(FolderUnknown), open_folder(eu_folder):
        pass


def test_a_real_folder_holds_out_by_its_own_secret(eu_folder):
    with open_folder(eu_folder) as folder:
        assert folder.holdout == KeyedShare(folder.keys.subject_secret)
        assert folder.origin == "real"


def test_origin_and_holdout_are_fixed_for_life(tmp_path, manifest):
    make_folder(tmp_path / "s", manifest=manifest, policy=POLICY, origin="simulation", fold=2)
    with open_folder(tmp_path / "s") as folder:
        assert folder.holdout == PublicFold(2)
        require_same(folder, origin="simulation", fold=2)
        for origin, fold in (("simulation", 1), ("simulation", None), ("real", None)):
            with pytest.raises(FolderMismatch):
                require_same(folder, origin=origin, fold=fold)


def test_relative_paths_start_at_the_stated_base_for_life(tmp_path, manifest):
    make_folder(tmp_path / "eu", manifest=manifest, policy=POLICY, base=tmp_path)
    with open_folder(tmp_path / "eu") as folder:
        assert folder.base == tmp_path.resolve()


def test_a_folder_in_memory_writes_nothing_to_its_database(eu_folder):
    with open_folder(eu_folder, durable=False) as folder, folder.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO folder_fact VALUES ('mark', 'x')")
    assert b"mark" not in (eu_folder / "state.sqlite").read_bytes()


def test_a_commit_is_durable(eu_folder):
    with open_folder(eu_folder) as folder, folder.engine.begin() as connection:
        asked = ("journal_mode", "synchronous", "secure_delete")
        set_to = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in asked]
    assert set_to == ["wal", 2, 1]


def test_the_hold_out_share_is_fixed_for_the_folders_life(eu_folder):
    policy = eu_folder / "policy.toml"
    policy.write_text("holdout_share = 0.5\n" + policy.read_text())
    with pytest.raises(FolderMismatch, match="holdout_share"), open_folder(eu_folder):
        pass

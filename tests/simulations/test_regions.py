"""What a simulation refuses before anything runs, and what its region folders are."""

from __future__ import annotations

import stat

import pytest

from foundation.errors import (
    BorderCrossed,
    FolderBusy,
    FolderMismatch,
    PurposeRefused,
    RegionNameTaken,
    RegionsOverlap,
    SettingsInvalid,
    SourceMissing,
    UsageWrong,
)
from privacy.plan import read_plan
from simulations.regions import open_regions, read_manifests

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")  # threads share the filters


def edit(path, old, new):
    stated = path.read_text()
    assert old in stated
    path.write_text(stated.replace(old, new))


@pytest.fixture
def opened(small, tmp_path):
    """Opens small's regions under `out`."""

    def go(out=tmp_path / "out"):
        plan = read_plan(small.plan_path)
        return open_regions(plan, read_manifests(plan, small.folder), out)

    return go


def test_region_folders_are_private_simulations_with_the_plan_approved(opened, tmp_path):
    with opened() as regions:
        assert set(regions) == {"eu", "sea", "us"}
        for region in regions.values():
            assert region.folder.origin == "simulation"
    key = tmp_path / "out" / "regions" / "eu" / "keys" / "identity.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_folder_is_opened_again_with_the_same_keys(opened):
    with opened() as regions:
        first = {name: each.folder.keys.public for name, each in regions.items()}
    with opened() as regions:
        assert {name: each.folder.keys.public for name, each in regions.items()} == first
    assert len(set(first.values())) == 3


def test_a_folder_in_use_is_not_opened_twice(opened):
    with opened(), pytest.raises(FolderBusy), opened():
        pass
    with opened():
        pass


def test_an_error_at_one_region_frees_the_others(opened, small):
    edit(small.folder / "us.policy.toml", "retention", "marketing")
    with pytest.raises(PurposeRefused), opened():
        pass
    with pytest.raises(PurposeRefused), opened():  # not FolderBusy
        pass


def test_the_plan_and_its_manifests_name_the_same_regions(opened, small):
    edit(small.plan_path, 'us = "us.toml"\n', "")
    with pytest.raises(UsageWrong, match="name different regions"), opened():
        pass


def test_two_regions_of_one_name_are_refused(opened, small):
    edit(small.plan_path, 'us = "us.toml"', 'us = "eu.toml"')
    with pytest.raises(RegionNameTaken, match="of region eu, not us"), opened():
        pass


def test_a_manifest_that_is_not_there_is_named(opened, small):
    small.manifest("us").unlink()
    with pytest.raises(SourceMissing, match=r"us\.toml"), opened():
        pass


def test_faults_of_a_policy_are_told_before_a_folder_is_made(opened, small, tmp_path):
    edit(small.folder / "us.policy.toml", "minimum_subjects", "minimum_people")
    with pytest.raises(SettingsInvalid, match="minimum_people"), opened():
        pass
    assert not (tmp_path / "out" / "regions" / "us").exists()


def test_another_manifest_is_another_folder(opened, small):
    with opened():
        pass
    edit(small.manifest("us"), 'countries = ["DE"]', 'countries = ["FR"]')
    with pytest.raises(FolderMismatch, match="is not what"), opened():
        pass


def test_personal_rows_of_two_storage_countries_do_not_meet(opened, small, tmp_path):
    for region, country in (("eu", "DE"), ("us", "US")):
        edit(small.manifest(region), 'data = "synthetic"', 'data = "personal"')
        edit(small.manifest(region), 'storage_country = "DE"', f'storage_country = "{country}"')
    with pytest.raises(BorderCrossed, match="DE, US") as caught, opened():
        pass
    assert (caught.value.code, caught.value.exit_code) == ("FP-312", 3)
    assert not (tmp_path / "out").exists()


def test_personal_rows_of_one_storage_country_may_meet(opened, small):
    for region in ("eu", "us"):
        edit(small.manifest(region), 'data = "synthetic"', 'data = "personal"')
    with opened():
        pass


def share_a_file(small):
    """Us reads the file of eu."""
    edit(small.manifest("us"), '"us.csv"', '"eu.csv"')


def test_one_row_claimed_by_two_rules_over_one_file_is_refused(opened, small):
    share_a_file(small)
    with pytest.raises(RegionsOverlap, match="eu and us") as caught, opened():
        pass
    assert caught.value.code == "FP-209"


def test_disjoint_rules_over_one_file_are_allowed(opened, small):
    share_a_file(small)
    for region, channel in (("eu", "web"), ("us", "app")):
        edit(
            small.manifest(region), 'by = "all"', f'by = "column"\ncolumn = "channel"\nvalues = ["{channel}"]'
        )
    with opened():
        pass


def test_a_file_is_one_file_by_any_of_its_names(opened, small):
    (small.folder / "us.csv").unlink()
    (small.folder / "us.csv").symlink_to(small.folder / "eu.csv")
    with pytest.raises(RegionsOverlap), opened():
        pass


def test_equal_ids_in_separate_sources_are_different_people(opened, small):
    (small.folder / "us.csv").write_text((small.folder / "eu.csv").read_text())
    with opened() as regions:
        ids = [set(regions[name].store.snapshot(small.plan, None).subjects) for name in ("eu", "us")]
    assert ids[0] == ids[1]


def test_a_consent_file_that_regions_share_is_no_overlap(opened, small):
    people = small.folder / "eu.csv"
    (small.folder / "us.csv").write_text(people.read_text())
    ids = [line.split(",")[0] for line in people.read_text().splitlines()[1:]]
    given = "".join(f"{each},retention,given,2025-01-01\n" for each in ids)
    (small.folder / "consent.csv").write_text("subject_id,purpose,state,ts\n" + given)
    for region in ("eu", "us"):
        edit(
            small.manifest(region),
            'kind = "legitimate_interests"\nreference = "assessment-1"',
            'kind = "consent"\nsource = "consent"',
        )
        edit(
            small.manifest(region),
            "[sources.people]",
            '[sources.consent]\nkind = "csv"\npath = "consent.csv"\n\n[sources.people]',
        )
        edit(small.manifest(region), 'data = "synthetic"', 'data = "synthetic"\ntimezone = "UTC"')
    with opened() as regions:
        assert set(regions) == {"eu", "sea", "us"}

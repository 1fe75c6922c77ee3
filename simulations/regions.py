"""A simulation's regions: folders under `--out/regions/NAME`, opened, approved and behind their vaults.

Refuses what a simulation may not do: personal rows of two storage countries on one machine, two regions of
one name, rules that claim one row twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

from client.approval import approve
from client.eligible import EligibleSets
from client.folder import MANIFEST, POLICY, RegionFolder, is_made, make_folder, open_folder, require_same
from client.manifest import Manifest
from client.source import path_of
from client.store import Store
from client.vault import Vault
from foundation.errors import BorderCrossed, FolderMismatch, RegionNameTaken, RegionsOverlap, UsageWrong
from foundation.toml_file import load
from privacy.plan import EventData, Plan
from privacy.seal import IdentitySeal
from simulations.population import World, write_world

REGIONS, WORLD = "regions", "world"
DEFAULT_POLICY = 'purposes = ["{}"]\n'


@dataclass(frozen=True, slots=True)
class Region:
    """An open region: its folder, its store, its vault, its plan-wide eligible sets."""

    folder: RegionFolder
    store: Store
    people: EligibleSets
    vault: Vault


def utc_now() -> datetime:
    """Returns the time now, aware, in UTC."""
    return datetime.now(UTC)


def read_manifests(plan: Plan, base: Path) -> dict[str, Path]:
    """Returns the manifest of each of the plan's regions; relative paths start at the plan's folder.

    Raises:
        UsageWrong: the plan names no manifest for a region, or one for none.
        RegionNameTaken: two manifests bear one name, or a manifest another region's name.
        BorderCrossed: personal rows of two storage countries.
        SourceMissing, SettingsInvalid: see `foundation.toml_file.load`.
    """
    paths = {name: base / path for name, path in plan.simulate.regions.items()}
    if set(paths) != set(plan.regions):
        raise UsageWrong(
            "[simulate.regions] and [regions] of the plan name different regions",
            do="name one manifest for each region",
        )
    manifests = {name: load(path, Manifest) for name, path in paths.items()}
    for name, manifest in manifests.items():
        if manifest.region != name:
            raise RegionNameTaken(f"manifest {paths[name]} is of region {manifest.region}, not {name}")
    personal = {each.storage_country for each in manifests.values() if each.data == "personal"}
    if len(personal) > 1:
        raise BorderCrossed(f"{len(personal)} storage countries: {', '.join(sorted(personal))}")
    return paths


@contextmanager
def open_regions(
    plan: Plan, manifests: dict[str, Path], out: Path, *, durable: bool = True
) -> Iterator[dict[str, Region]]:
    """Makes or opens the regions' folders, approves the plan in each, and yields them by name.

    The plan's synthetic world is written to `out/world` where it is not there yet.

    Raises:
        FolderMismatch: a folder was made from another manifest or for another fold.
        RegionsOverlap: two rules over one file claim one person.
        PurposeRefused, FolderBusy, and the store's errors.
    """
    with ExitStack() as stack:
        regions: dict[str, Region] = {}
        _write_world(plan, out)
        for name, path in manifests.items():
            folder_path = _made(plan, name, path, out)
            folder = stack.enter_context(open_folder(folder_path, durable=durable))
            require_same(folder, origin="simulation", fold=plan.simulate.fold)
            store = Store(folder.manifest, base=folder.base)
            stack.callback(store.close)
            people = EligibleSets(folder, store)
            vault = Vault(folder, people, IdentitySeal(), utc_now)
            vault.recover()
            approve(folder, plan, utc_now())
            people.run_gates(plan, utc_now())
            stack.callback(vault.stop)
            regions[name] = Region(folder, store, people, vault)
        _require_disjoint(plan, regions)
        yield regions


def _made(plan: Plan, name: str, path: Path, out: Path) -> Path:
    folder, text = out / REGIONS / name, path.read_text(encoding="utf-8")
    beside = [each for each in (path.with_suffix(".policy.toml"), path.with_name(POLICY)) if each.is_file()]
    stated = beside[0].read_text(encoding="utf-8") if beside else DEFAULT_POLICY.format(plan.purpose)
    if is_made(folder):
        for name_of, wanted in ((MANIFEST, text), (POLICY, stated)):
            if (folder / name_of).read_text(encoding="utf-8") != wanted:
                raise FolderMismatch(f"{folder / name_of} is not what {path} states now")
        return folder
    make_folder(
        folder,
        manifest=text,
        policy=stated,
        origin="simulation",
        fold=plan.simulate.fold,
        base=path.parent if plan.simulate.world is None else out,
    )
    return folder


def _write_world(plan: Plan, out: Path) -> None:
    asked = plan.simulate.world
    if asked is None or (out / WORLD / "manifest.json").is_file():
        return
    if not isinstance(plan.data, EventData):
        raise UsageWrong("[simulate.world] has events, the plan asks for subject tables")
    world = World(
        people=dict(asked.people),
        seed=asked.seed,
        train_as_of=plan.data.train_as_of,
        test_as_of=plan.data.test_as_of,
    )
    write_world(world, out / WORLD)


def _require_disjoint(plan: Plan, regions: dict[str, Region]) -> None:
    for one, other in combinations(sorted(regions), 2):
        if not _files(regions[one]) & _files(regions[other]):
            continue
        if _subjects(plan, regions[one]) & _subjects(plan, regions[other]):
            raise RegionsOverlap(f"regions {one} and {other}")


def _subjects(plan: Plan, region: Region) -> set[str]:
    data = plan.data
    dates = {data.train_as_of, data.test_as_of} if isinstance(data, EventData) else {None}
    return {
        str(subject)
        for as_of in dates
        for subject in region.store.snapshot(plan, as_of, labels=False).subjects
    }


def _files(region: Region) -> set[Path]:
    manifest = region.folder.manifest
    sources = {manifest.sources[table.source] for table in manifest.tables.values()}
    return {path_of(source, region.folder.base).resolve() for source in sources}

"""A small federation that every room's tests can run: three regions of one synthetic subject table each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from client.approval import approve
from client.eligible import EligibleSets
from client.folder import make_folder, open_folder
from client.store import Store
from client.vault import Vault
from privacy.plan import Plan, read_plan
from privacy.seal import IdentitySeal

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
REGIONS = ("eu", "sea", "us")

MANIFEST = """
region = "{region}"
controllers = ["example-shop"]
countries = ["DE"]
storage_country = "DE"
data = "synthetic"

[sources.people]
kind = "csv"
path = "{region}.csv"

[tables.people]
source = "people"
shape = "subjects"
subject = "person"

[region_rule]
by = "all"

[lawful_basis.retention]
kind = "legitimate_interests"
reference = "assessment-1"
"""

POLICY = """
purposes = ["retention"]
minimum_subjects = 20
"""

PLAN = """
name = "small"
purpose = "retention"
controller = "example-shop"

[tasks.leaves]
kind = "column"
column = "leaves"
value = 1

[data]
shape = "subjects"

[[inputs.columns]]
kind = "numeric"
name = "recency"
low = 0.0
high = 1.0

[[inputs.columns]]
kind = "numeric"
name = "visits"
low = 0.0
high = 50.0
scale = "log"

[[inputs.columns]]
kind = "category"
name = "channel"
values = ["web", "app"]

[normalisation]
mode = "quantile"
bins = 8
noise_multiplier = 8.0

[training]
rounds = 3
local_steps = 4
sampling_rate = 1.0
noise_multiplier = 6.0
clipping_norm = 1.0
learning_rate = 1.0
averaged_rounds = 2

[evaluation]
noise_multiplier = 1.6
told_alone_at = 50

[budget]
epsilon = 3.0
delta = 1e-5

[federation]
quorum = 2
minimum_subjects = 20
hello_seconds = 20
round_seconds = 20

[regions.eu]
public_size = 400
weight = 0.5

[regions.us]
public_size = 300
weight = 0.3

[regions.sea]
public_size = 200
weight = 0.2

[simulate.regions]
eu = "eu.toml"
us = "us.toml"
sea = "sea.toml"
"""

SIZES = {"eu": 400, "us": 300, "sea": 210}


def people_csv(region: str, people: int, seed: int = 7) -> str:
    """Returns a table in which recent visitors stay; rows are a function of region and place."""
    generator = np.random.default_rng([seed, *region.encode()])
    recency, visits = generator.random(people), generator.poisson(8, people)
    leaves = generator.random(people) < 1 / (1 + np.exp(-5 * (recency - 0.5)))
    channel = np.where(generator.random(people) < 0.4, "web", "app")
    rows = [f"{region}-{i},{recency[i]:.4f},{visits[i]},{channel[i]},{int(leaves[i])}" for i in range(people)]
    return "\n".join(["person,recency,visits,channel,leaves", *rows]) + "\n"


@dataclass(frozen=True)
class Small:
    """The small federation's files."""

    folder: Path
    plan_path: Path
    plan: Plan

    def manifest(self, region: str) -> Path:
        """The manifest of a region."""
        return self.folder / f"{region}.toml"


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """Plan, manifests, policies and tables of three regions in one folder."""
    folder = tmp_path / "small"
    folder.mkdir()
    for region, people in SIZES.items():
        (folder / f"{region}.csv").write_text(people_csv(region, people))
        (folder / f"{region}.toml").write_text(MANIFEST.format(region=region))
        (folder / f"{region}.policy.toml").write_text(POLICY)
    plan_path = folder / "plan.toml"
    plan_path.write_text(PLAN)
    return Small(folder, plan_path, read_plan(plan_path))


@pytest.fixture
def eu_folder(small: Small, tmp_path: Path) -> Path:
    """A real region folder of the small federation's eu."""
    path = tmp_path / "eu"
    make_folder(
        path,
        manifest=small.manifest("eu").read_text().replace('"eu.csv"', f'"{small.folder / "eu.csv"}"'),
        policy=POLICY,
    )
    return path


@pytest.fixture
def eu_vault(small: Small, eu_folder: Path) -> Iterator[Vault]:
    """A vault on that folder, with the plan approved and a clock that stands still."""
    with open_folder(eu_folder) as folder:
        store = Store(folder.manifest, base=folder.base)
        approve(folder, small.plan, NOW)
        vault = Vault(folder, EligibleSets(folder, store), IdentitySeal(), lambda: NOW)
        vault.recover()
        yield vault
        store.close()

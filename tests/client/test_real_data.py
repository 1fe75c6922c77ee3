"""The shipped manifests on real tables; skipped where the tables are absent."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from client.manifest import read_manifest
from client.source import data_folder
from client.store import Store
from privacy.plan import Plan
from profiles.catalogue import ORDER, REFUND

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not data_folder().is_dir(), reason="FEDPROFILE_DATA names no folder of real tables"),
]
EXAMPLES = Path(__file__).parents[2] / "examples"
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def plan(data, tasks, inputs):
    return Plan.model_validate(
        {
            "name": "p",
            "purpose": "retention",
            "controller": "shop",
            "tasks": tasks,
            "data": data,
            "inputs": inputs,
            "normalisation": {"mode": "quantile", "noise_multiplier": 1},
            "training": {"rounds": 1, "local_steps": 1, "sampling_rate": 0.1, "noise_multiplier": 1,
                         "clipping_norm": 1, "learning_rate": 1},
            "evaluation": {"noise_multiplier": 1},
            "budget": {"epsilon": 3, "delta": 1e-5},
            "federation": {"quorum": 2},
            "regions": {name: {"public_size": 100, "weight": 1} for name in ("north", "south")},
        }
    )  # fmt: skip


def events(as_of, currency, days):
    return plan(
        {"shape": "events", "train_as_of": as_of, "test_as_of": as_of, "active_event": ORDER,
         "active_days": 365, "currency": currency},
        {"again": {"kind": "event", "event": ORDER, "days": days},
         "refund": {"kind": "event", "event": REFUND, "days": 3650}},
        {"catalogue": ["orders_all", "spend_360d", "refunds_all", "mean_gap_days_all",
                       "days_since_last_order"]},
    )  # fmt: skip


def opened(name):
    path = EXAMPLES / f"{name}.toml"
    return Store(read_manifest(path), base=path.parent)


@pytest.mark.parametrize(("region", "people"), [("uk", 3_969), ("western_europe", 207), ("rest", 154)])
def test_active_people_of_online_retail(region, people):
    store, asked = opened(f"online_retail_ii/{region}"), events(date(2011, 6, 12), "GBP", 90)
    assert store.active_count(asked, date(2011, 6, 12)) == people
    assert all(gate.holds for gate in store.gates(asked, NOW))


def test_regions_of_online_retail_share_nobody():
    asked = events(date(2011, 12, 9), "GBP", 90)
    regions = [
        set(opened(f"online_retail_ii/{region}").snapshot(asked, date(2011, 12, 9)).subjects)
        for region in ("uk", "western_europe", "rest")
    ]
    assert len(set.union(*regions)) == sum(map(len, regions))


def test_cdnow_in_thirds_is_whole():
    day = date(1997, 10, 1)
    parts = [opened(f"cdnow/part_{part}").snapshot(events(day, "USD", 273), day) for part in range(3)]
    assert sum(map(len, parts)) == len({who for part in parts for who in part.subjects}) == 23_570
    assert sum(float(part.labels[:, 0].sum()) for part in parts) / 23_570 == pytest.approx(0.30, abs=0.005)


@pytest.mark.parametrize(
    ("region", "sessions"), [("region_1", 4_780), ("regions_2_3", 3_539), ("regions_4_9", 4_011)]
)
def test_sessions_of_online_shoppers(region, sessions):
    asked = plan(
        {"shape": "subjects"},
        {"buys": {"kind": "column", "column": "Revenue", "value": True}},
        {"columns": [{"kind": "numeric", "name": "PageValues", "low": 0, "high": 400, "scale": "log"},
                     {"kind": "category", "name": "Weekend", "values": [True]}]},
    )  # fmt: skip
    found = opened(f"online_shoppers/{region}").snapshot(asked, None)
    assert len(found) == sessions
    assert found.labels.mean() == pytest.approx(0.155, abs=0.01)

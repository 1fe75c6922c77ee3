"""What the gates count, table by table."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.manifest import Manifest
from client.store import Store
from privacy.plan import Plan
from profiles.catalogue import ORDER

AS_OF = date(2024, 6, 1)
NOW = datetime(2024, 12, 1, tzinfo=UTC)
BEFORE = datetime(2024, 5, 1, tzinfo=UTC)
AFTER = datetime(2024, 6, 10, tzinfo=UTC)
SCHEMA = pa.schema(
    {"who": pa.string(), "at": pa.timestamp("us", tz="UTC"), "spend": pa.float64(), "land": pa.string()}
)
TABLE = {"shape": "events", "source": "t", "subject": "who", "time": "at", "event": ORDER, "value": "spend",
         "country": "land"}  # fmt: skip
GOOD = [("a", BEFORE, 1.0, "SE"), ("a", AFTER, 1.0, "SE"), ("b", BEFORE, 2.0, "SE")]
COMMON = {
    "name": "p",
    "purpose": "retention",
    "controller": "shop",
    "normalisation": {"mode": "quantile", "noise_multiplier": 1},
    "training": {"rounds": 1, "local_steps": 1, "sampling_rate": 0.1, "noise_multiplier": 1,
                 "clipping_norm": 1, "learning_rate": 1},
    "evaluation": {"noise_multiplier": 1},
    "budget": {"epsilon": 3, "delta": 1e-5},
    "federation": {"quorum": 2},
    "regions": {name: {"public_size": 100, "weight": 1} for name in ("north", "south")},
}  # fmt: skip
EVENT_PLAN = Plan.model_validate(
    COMMON
    | {
        "tasks": {"churn": {"kind": "no_event", "event": ORDER, "days": 90}},
        "data": {"shape": "events", "train_as_of": AS_OF, "test_as_of": AS_OF, "active_event": ORDER,
                 "active_days": 365, "currency": "EUR"},
        "inputs": {"catalogue": ["orders_all"]},
    }
)  # fmt: skip
COLUMN_PLAN = Plan.model_validate(
    COMMON
    | {
        "tasks": {"buys": {"kind": "column", "column": "bought", "value": True}},
        "data": {"shape": "subjects"},
        "inputs": {"columns": [{"kind": "numeric", "name": "pages", "low": 0, "high": 100}]},
    }
)


def gates(folder, rows, plan=EVENT_PLAN, **changes):
    """Returns violations by gate name, and the names of the gates that fail."""
    content = rows if isinstance(rows, dict) else {
        name: [row[place] for row in rows] for place, name in enumerate(SCHEMA.names)
    }  # fmt: skip
    pq.write_table(pa.table(content, schema=None if isinstance(rows, dict) else SCHEMA), folder / "t.parquet")
    stated = {
        "region": "north",
        "controllers": ["shop"],
        "storage_country": "SE",
        "data": "synthetic",
        "currency": "EUR",
        "sources": {"t": {"kind": "parquet", "path": "t.parquet"}},
        "tables": {"t": TABLE},
    }
    results = Store(Manifest.model_validate(stated | changes), base=folder).gates(plan, NOW)
    return {gate.name: gate.violations for gate in results}, {gate.name for gate in results if not gate.holds}


def test_good_rows_pass_every_gate(tmp_path):
    counts, failed = gates(tmp_path, GOOD, countries=["SE"])
    assert not failed
    assert set(counts.values()) == {0}
    assert {"missing_subject", "future_time", "money_outside", "one_class", "foreign_country"} <= set(counts)


@pytest.mark.parametrize(
    ("rows", "gate"),
    [
        ([(None, BEFORE, 1.0, "SE")], "missing_subject"),
        ([("c", None, 1.0, "SE")], "missing_time"),
        ([("c", datetime(1969, 1, 1, tzinfo=UTC), 1.0, "SE")], "missing_time"),
        ([("c", NOW + timedelta(days=1), 1.0, "SE")], "future_time"),
        ([("a", BEFORE, -1.0, "SE")], "money_outside"),
        ([("a", BEFORE, float("nan"), "SE")], "money_outside"),
        ([("a", BEFORE, float("inf"), "SE")], "money_outside"),
        ([("a", BEFORE, 1e11, "SE")], "money_outside"),
        ([("c", BEFORE, 1.0, "Narnia")], "unknown_country"),
        ([("c", BEFORE, 1.0, "NO")], "foreign_country"),
        ([("a", BEFORE, 1.0, "SE")], "repeated_event"),
    ],
)
def test_a_bad_row_is_counted_by_its_gate_alone(tmp_path, rows, gate):
    counts, failed = gates(tmp_path, GOOD + rows, countries=["SE"])
    assert {name: count for name, count in counts.items() if count and name != "empty_region"} == {gate: 1}
    assert failed == {gate}


def test_a_manifest_may_allow_a_share(tmp_path):
    rows = [*GOOD, ("c", None, 1.0, "SE")]
    shares = {"t": {"allowed_shares": {"missing_time": 0.25}}}
    assert gates(tmp_path, rows, gates=shares) == ({**gates(tmp_path, GOOD)[0], "missing_time": 1}, set())


def test_rows_of_other_regions_are_not_counted(tmp_path):
    rule = {"by": "first_value", "table": "t", "column": "land", "values": ["SE"]}
    bad = [("c", BEFORE, 1.0, "NO"), ("c", AFTER, -1.0, "Narnia")]
    assert not gates(tmp_path, GOOD + bad, region_rule=rule, countries=["SE"])[1]


def test_an_empty_region_fails(tmp_path):
    rule = {"by": "first_value", "table": "t", "column": "land", "values": ["FI"]}
    assert "empty_region" in gates(tmp_path, GOOD, region_rule=rule)[1]


def test_one_class_only_fails(tmp_path):
    assert gates(tmp_path, [GOOD[0], GOOD[2]])[1] == {"one_class"}


@pytest.mark.parametrize(("days", "failed"), [(200, set()), (100, {"stale"})])
def test_old_rows_are_stale(tmp_path, days, failed):
    assert gates(tmp_path, GOOD, gates={"t": {"freshness_days": days}})[1] == failed


def subjects(**changes):
    columns = {"who": ["a", "b", "c"], "pages": [1.0, 2.0, 3.0], "bought": [True, False, True]}
    return columns | changes


SUBJECT_TABLE = {"tables": {"t": {"shape": "subjects", "source": "t", "subject": "who"}}}


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, set()),
        ({"who": ["a", "a", "c"]}, {"repeated_subject"}),
        ({"who": [None, "b", "c"]}, {"missing_subject"}),
        ({"pages": [None, 2.0, 3.0]}, {"missing_number"}),
        ({"pages": [float("nan"), 2.0, 3.0]}, {"missing_number"}),
        ({"pages": [-1.0, 2.0, 300.0]}, {"outside_bounds"}),
        ({"bought": [True, True, True]}, {"one_class"}),
    ],
)
def test_subject_tables_have_gates_of_their_own(tmp_path, changes, failed):
    assert gates(tmp_path, subjects(**changes), COLUMN_PLAN, **SUBJECT_TABLE)[1] == failed


def test_a_subject_table_without_rows_of_the_region_is_empty(tmp_path):
    rule = {"by": "column", "column": "who", "values": ["z"]}
    found = gates(tmp_path, subjects(), COLUMN_PLAN, region_rule=rule, **SUBJECT_TABLE)[1]
    assert found == {"empty_region", "one_class"}

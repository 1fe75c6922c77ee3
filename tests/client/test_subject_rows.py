"""Subject tables through the store: one row per person, columns as the plan names them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.manifest import Manifest
from client.store import Store
from foundation.errors import ColumnMissing, ColumnTypeWrong, CountryUnknown, GateFailed, SettingsInvalid
from privacy.plan import Plan

COLUMNS = {
    "who": ["b", "a", "c"],
    "pages": [0, 50, None],
    "value": [-1.0, 10.0, float("nan")],
    "month": ["Nov", "May", None],
    "weekend": [True, False, None],
    "area": [1, 2, 3],
    "bought": [True, False, None],
    "country": ["SE", "NO", "Narnia"],
}
INPUTS = [
    {"kind": "numeric", "name": "pages", "low": 0, "high": 100},
    {"kind": "category", "name": "month", "values": ["May", "Nov"]},
    {"kind": "numeric", "name": "value", "low": 0, "high": 20},
    {"kind": "category", "name": "weekend", "values": [True]},
]
VALUE = INPUTS[2]


def plan(inputs=INPUTS, task=None):
    return Plan.model_validate(
        {
            "name": "p",
            "purpose": "conversion",
            "controller": "shop",
            "tasks": {"buys": task or {"kind": "column", "column": "bought", "value": True}},
            "data": {"shape": "subjects"},
            "inputs": {"columns": inputs},
            "normalisation": {"mode": "standard", "noise_multiplier": 1},
            "training": {"rounds": 1, "local_steps": 1, "sampling_rate": 0.1, "noise_multiplier": 1,
                         "clipping_norm": 1, "learning_rate": 1},
            "evaluation": {"noise_multiplier": 1},
            "budget": {"epsilon": 3, "delta": 1e-5},
            "federation": {"quorum": 2},
            "regions": {name: {"public_size": 100, "weight": 1} for name in ("north", "south")},
        }
    )  # fmt: skip


def store(folder, columns=COLUMNS, table=None, **changes):
    pq.write_table(pa.table(columns), folder / "people.parquet")
    stated = {
        "region": "north",
        "controllers": ["shop"],
        "storage_country": "SE",
        "data": "synthetic",
        "sources": {"people": {"kind": "parquet", "path": "people.parquet"}},
        "tables": {
            "people": {
                "shape": "subjects",
                "source": "people",
                **({"subject": "who"} if table is None else table),
            }
        },
    }
    return Store(Manifest.model_validate(stated | changes), base=folder)


def test_rows_are_sorted_and_columns_follow_the_plan(tmp_path):
    found = store(tmp_path).snapshot(plan(), None)
    assert found.subjects.tolist() == ["a", "b", "c"]
    assert found.numeric.tolist() == [[0.5, 0.5], [0.0, 0.0], [0.0, 0.0]]
    assert found.onehots.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert found.labels.tolist() == [[0], [1], [0]]
    assert found.numeric.dtype == found.onehots.dtype == found.labels.dtype == np.float32
    assert found.countries.tolist() == ["", "", ""]


def test_labels_are_not_read_where_none_are_asked(tmp_path):
    assert store(tmp_path).snapshot(plan(), None, labels=False).labels is None


def test_rows_without_an_identifier_are_numbered_before_any_filter(tmp_path):
    rule = {"by": "column", "column": "area", "values": [2, 3]}
    found = store(tmp_path, table={"subject_from_row": True}, region_rule=rule)
    assert found.snapshot(plan(), None).subjects.tolist() == ["000000000001", "000000000002"]
    assert found.active_count(plan(), None) == 2


def test_regions_by_column_share_no_row(tmp_path):
    rules = [{"by": "column", "column": "area", "values": values} for values in ([1], [2, 3])]
    one, other = (set(store(tmp_path, region_rule=rule).snapshot(plan(), None).subjects) for rule in rules)
    assert one | other == {"a", "b", "c"}
    assert not one & other


def test_two_rows_of_a_subject_are_refused(tmp_path):
    twice = {name: [*values, values[0]] for name, values in COLUMNS.items()}
    with pytest.raises(GateFailed, match="more than one row"):
        store(tmp_path, twice).snapshot(plan(), None)


def test_a_row_without_a_subject_is_left_out(tmp_path):
    found = store(tmp_path, COLUMNS | {"who": ["b", None, "c"]}).snapshot(plan(), None)
    assert found.subjects.tolist() == ["b", "c"]


def test_countries_are_codes_or_the_run_is_refused(tmp_path):
    table = {"subject": "who", "country": "country"}
    found = store(tmp_path, table=table, country_codes={"Narnia": "FI"}).snapshot(plan(), None)
    assert found.countries.tolist() == ["NO", "SE", "FI"]
    with pytest.raises(CountryUnknown):
        store(tmp_path, table=table).snapshot(plan(), None)


def test_missing_columns_of_plan_and_manifest_are_named_at_once(tmp_path):
    inputs = [*INPUTS, {"kind": "numeric", "name": "age", "low": 0, "high": 9}]
    with pytest.raises(ColumnMissing, match="client, age"):
        store(tmp_path, table={"subject": "client"}).snapshot(plan(inputs), None)


@pytest.mark.parametrize(
    ("inputs", "task", "told"),
    [
        ([{"kind": "numeric", "name": "month", "low": 0, "high": 1}], None, "month .string. as number"),
        ([VALUE, {"kind": "category", "name": "month", "values": [1]}], None, "month .string. as number"),
        ([VALUE, {"kind": "category", "name": "pages", "values": ["a"]}], None, "pages .int64. as text"),
        (INPUTS, {"kind": "column", "column": "month", "value": True}, "month .string. as truth"),
    ],
)
def test_a_column_of_another_type_is_named(tmp_path, inputs, task, told):
    with pytest.raises(ColumnTypeWrong, match=told):
        store(tmp_path).snapshot(plan(inputs, task), None)


def test_a_plan_over_columns_needs_a_subject_table(tmp_path):
    table = {"shape": "events", "source": "people", "subject": "who", "time": "who", "event": "e"}
    with pytest.raises(SettingsInvalid, match="no table of shape subjects"):
        store(tmp_path, tables={"people": table}).snapshot(plan(), None)

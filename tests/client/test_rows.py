"""Filters, rounding of money, and hash parts, as expressions of the engine."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.manifest import ParquetSource, RowFilter
from client.people import hash_part
from client.rows import filtered, half_even
from client.source import ColumnRoles, connect, open_source

ROWS = {
    "who": ["a", "b", "c"],
    "at": [
        datetime(2024, 5, 31, tzinfo=UTC),
        datetime(2024, 5, 31, tzinfo=UTC),
        datetime(2024, 5, 23, tzinfo=UTC),
    ],
    "item": ["C1", None, "1"],
    "value": [10, 20, 30],
    "ready": [True, None, False],
}
AMOUNTS = {
    0.5: 0,
    1.5: 2,
    2.5: 2,
    -0.5: 0,
    -1.5: -2,
    2.4: 2,
    2.6: 3,
    2.675 * 100: 268,
    2.665 * 100: 266,
    1.1 * 3 * 100: 330,
    1e15: 10**15,
    1e30: None,
    float("inf"): None,
    float("nan"): None,
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder, connection, tables = tmp_path_factory.mktemp("rows"), connect(), {}
    for name, columns in (("rows", ROWS), ("amounts", {"amount": list(AMOUNTS)})):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        source = ParquetSource(kind="parquet", path=f"{name}.parquet")
        tables[name] = open_source(connection, name, source, folder, ColumnRoles())
    yield tables
    connection.disconnect()


def kept(opened, **filters):
    found = filtered(opened["rows"], RowFilter.model_validate(filters)).to_pyarrow()
    return "".join(sorted(found["who"].to_pylist()))


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        ({"column": "item", "present": True}, "ac"),
        ({"column": "item", "present": False}, "b"),
        ({"column": "item", "equals": "C1"}, "a"),
        ({"column": "item", "not_equals": "C1"}, "c"),
        ({"column": "item", "starts_with": "C"}, "a"),
        ({"column": "item", "not_starts_with": "C"}, "c"),
        ({"column": "item", "in": ["C1", "C2"]}, "a"),
        ({"column": "item", "not_in": ["C1", "C2"]}, "c"),
        ({"column": "value", "at_least": 20}, "bc"),
        ({"column": "value", "above": 20}, "c"),
        ({"column": "value", "below": 20.5}, "ab"),
        ({"column": "ready", "equals": True}, "a"),
        ({"column": "at", "before": datetime(2024, 5, 26, tzinfo=UTC)}, "c"),
        ({"column": "at", "at_least": date(2024, 5, 26)}, "ab"),
    ],
)
def test_a_condition_keeps_the_rows_where_it_holds_and_drops_no_other(opened, test, holds):
    assert kept(opened, keep=[test]) == holds
    assert kept(opened, drop=[[test]]) == "".join(sorted(set("abc") - set(holds)))


def test_all_keep_conditions_must_hold(opened):
    assert kept(opened, keep=[{"column": "value", "above": 10}, {"column": "item", "present": True}]) == "c"


def test_a_drop_group_needs_all_its_conditions(opened):
    late, small = {"column": "at", "at_least": date(2024, 5, 26)}, {"column": "value", "below": 15}
    assert kept(opened, drop=[[late, small]]) == "bc"
    assert kept(opened, drop=[[late], [small]]) == "c"


def test_money_is_rounded_half_to_even_or_is_null(opened):
    amounts = opened["amounts"]
    found = amounts.select("amount", minor=half_even(amounts.amount)).to_pyarrow().to_pydict()
    assert found["minor"] == list(AMOUNTS.values())


def test_a_hash_part_is_the_public_hash_of_the_identifier(opened):
    rows = opened["rows"]
    found = rows.select("who", part=hash_part(rows.who, 7)).to_pyarrow().to_pylist()
    assert all(
        row["part"] == int(hashlib.sha256(row["who"].encode()).hexdigest()[:7], 16) % 7 for row in found
    )

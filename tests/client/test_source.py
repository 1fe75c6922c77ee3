"""Sources that are missing, cut, of another kind, or with other columns than the manifest says."""

from __future__ import annotations

from datetime import date, datetime, timezone
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.manifest import Manifest
from client.source import data_folder, path_of
from client.store import Store
from foundation.errors import (
    ColumnMissing,
    ColumnTypeWrong,
    SourceMissing,
    SourceUnreadable,
    TimezoneMissing,
)
from privacy.plan import Plan
from profiles.catalogue import ORDER

AS_OF = date(2024, 6, 1)
MARK = "marked-value-of-a-row"
PLAN = Plan.model_validate(
    {
        "name": "p",
        "purpose": "retention",
        "controller": "shop",
        "tasks": {"churn": {"kind": "no_event", "event": ORDER, "days": 90}},
        "data": {"shape": "events", "train_as_of": AS_OF, "test_as_of": AS_OF, "active_event": ORDER,
                 "active_days": 365, "currency": "EUR"},
        "inputs": {"catalogue": ["orders_all"]},
        "normalisation": {"mode": "quantile", "noise_multiplier": 1},
        "training": {"rounds": 1, "local_steps": 1, "sampling_rate": 0.1, "noise_multiplier": 1,
                     "clipping_norm": 1, "learning_rate": 1},
        "evaluation": {"noise_multiplier": 1},
        "budget": {"epsilon": 3, "delta": 1e-5},
        "federation": {"quorum": 2},
        "regions": {name: {"public_size": 100, "weight": 1} for name in ("north", "south")},
    }
)  # fmt: skip
ROWS = [{"who": f"{MARK}-{number}", "at": datetime(2024, 5, 1), "spend": 1.5} for number in range(200)]  # noqa: DTZ001


def store(folder, source, zone="Europe/Stockholm", **table):
    stated = {
        "shape": "events",
        "source": "orders",
        "subject": "who",
        "time": "at",
        "event": ORDER,
        "value": "spend",
    }
    return Store(
        Manifest.model_validate(
            {
                "region": "north",
                "controllers": ["shop"],
                "storage_country": "SE",
                "data": "synthetic",
                "currency": "EUR",
                "timezone": zone,
                "sources": {"orders": source},
                "tables": {"orders": stated | table},
            }
        ),
        base=folder,
    )


def parquet(folder, columns=None):
    pq.write_table(
        pa.Table.from_pylist(ROWS) if columns is None else pa.table(columns), folder / "orders.parquet"
    )
    return {"kind": "parquet", "path": "orders.parquet"}


def csv(folder, text=None):
    lines = "who,at,spend\n" + "".join(f"{MARK}-{number},2024-05-01,1.5\n" for number in range(200))
    (folder / "orders.csv").write_text(lines if text is None else text)
    return {"kind": "csv", "path": "orders.csv"}


def database(folder):
    with duckdb.connect(str(folder / "orders.duckdb")) as connection:
        connection.execute('create table orders (who varchar, "at" timestamp, spend double)')
        connection.executemany(
            "insert into orders values (?, ?, ?)", [list(row.values()) for row in ROWS[:3]]
        )
    return {"kind": "duckdb", "path": "orders.duckdb", "table": "orders"}


@pytest.mark.parametrize(("make", "people"), [(parquet, 200), (csv, 200), (database, 3)])
def test_each_kind_of_source_is_read(tmp_path, make, people):
    assert len(store(tmp_path, make(tmp_path)).snapshot(PLAN, AS_OF)) == people


def test_another_delimiter_may_be_stated(tmp_path):
    source = csv(tmp_path, "who;at;spend\nann;2024-05-01;1.5\n") | {"delimiter": ";"}
    assert store(tmp_path, source).snapshot(PLAN, AS_OF).subjects.tolist() == ["ann"]


@pytest.mark.parametrize("kind", ["parquet", "csv", "duckdb"])
def test_a_missing_file_is_named(tmp_path, kind):
    source = {"kind": kind, "path": "nowhere.file"} | ({"table": "t"} if kind == "duckdb" else {})
    with pytest.raises(SourceMissing, match="nowhere"):
        store(tmp_path, source).snapshot(PLAN, AS_OF)


def test_a_missing_table_of_a_database_is_named(tmp_path):
    with pytest.raises(SourceMissing, match="other"):
        store(tmp_path, database(tmp_path) | {"table": "other"}).snapshot(PLAN, AS_OF)


@pytest.mark.parametrize("make", [parquet, csv, database])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_cut_file_is_refused_without_quoting_it(tmp_path, make, share):
    source = make(tmp_path)
    path = tmp_path / source["path"]
    whole = path.read_bytes()
    end = int(len(whole) * share)
    path.write_bytes(whole[: end - 5 if whole[end - 5 : end - 4] != b"\n" else end])
    with pytest.raises(SourceUnreadable) as raised:
        store(tmp_path, source).snapshot(PLAN, AS_OF)
    assert MARK not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_bytes_changed_inside_a_file_are_refused(tmp_path):
    source = parquet(tmp_path)
    path = tmp_path / source["path"]
    whole = bytearray(path.read_bytes())
    whole[40:400] = bytes(360)
    path.write_bytes(whole)
    with pytest.raises(SourceUnreadable):
        store(tmp_path, source).snapshot(PLAN, AS_OF)


def test_all_missing_columns_are_named_at_once(tmp_path):
    with pytest.raises(ColumnMissing, match="table orders: client, revenue, land"):
        store(tmp_path, parquet(tmp_path), subject="client", value="revenue", country="land").snapshot(
            PLAN, AS_OF
        )


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        ({"time": "who"}, "who .string. as time"),
        ({"subject": "spend"}, "spend .float64. as identifier"),
        ({"value": "who"}, "who .string. as number"),
        ({"keep": [{"column": "spend", "starts_with": "C"}]}, "spend .float64. as text"),
        ({"keep": [{"column": "who", "above": 3}]}, "who .string. as number"),
    ],
)
def test_a_column_that_cannot_play_its_role_is_named(tmp_path, roles, told):
    with pytest.raises(ColumnTypeWrong, match=told):
        store(tmp_path, parquet(tmp_path), **roles).snapshot(PLAN, AS_OF)


def test_a_column_of_text_among_numbers_is_no_number(tmp_path):
    lines = "who,at,spend\n" + "ann,2024-05-01,1.5\n" * 50 + f"ann,2024-05-01,{MARK}\n"
    with pytest.raises(ColumnTypeWrong) as raised:
        store(tmp_path, csv(tmp_path, lines)).snapshot(PLAN, AS_OF)
    assert MARK not in str(raised.value)


def test_naive_times_need_a_zone(tmp_path):
    with pytest.raises(TimezoneMissing, match="table orders: at"):
        store(tmp_path, parquet(tmp_path), zone=None).snapshot(PLAN, AS_OF)


def test_times_with_a_zone_need_none(tmp_path):
    at = pa.array([datetime(2024, 5, 1, tzinfo=timezone.utc)], pa.timestamp("us", tz="Asia/Jakarta"))  # noqa: UP017
    source = parquet(tmp_path, {"who": ["ann"], "at": at, "spend": [1.0]})
    assert len(store(tmp_path, source, zone=None).snapshot(PLAN, AS_OF)) == 1


def test_dates_are_midnights_of_the_zone(tmp_path):
    source = parquet(tmp_path, {"who": ["ann"], "at": [date(2024, 6, 1)], "spend": [1.0]})
    assert len(store(tmp_path, source, zone="Asia/Jakarta").snapshot(PLAN, AS_OF)) == 1
    assert len(store(tmp_path, source, zone="America/New_York").snapshot(PLAN, AS_OF)) == 0


def test_paths_start_at_the_manifest_or_at_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDPROFILE_DATA", str(tmp_path / "tables"))
    sources = store(tmp_path, {"kind": "parquet", "path": "${FEDPROFILE_DATA}/a.parquet"}).manifest.sources
    assert path_of(sources["orders"], Path("/elsewhere")) == tmp_path / "tables" / "a.parquet"
    sources = store(tmp_path, {"kind": "parquet", "path": "b.parquet"}).manifest.sources
    assert path_of(sources["orders"], tmp_path) == tmp_path / "b.parquet"


def test_without_the_variable_a_default_folder_is_taken():
    assert data_folder({}).parts[-2:] == ("shared", "data")
    assert data_folder({"FEDPROFILE_DATA": "/tables"}) == Path("/tables")

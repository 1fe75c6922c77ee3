"""Consent records from a region's source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.manifest import Manifest
from client.store import Store
from compliance.consent import ConsentState, permitted
from foundation.errors import ColumnMissing

NOW = datetime(2024, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SCHEMA = pa.schema(
    {
        "subject_id": pa.string(),
        "purpose": pa.string(),
        "state": pa.string(),
        "ts": pa.timestamp("us", tz="UTC"),
        "expires_at": pa.timestamp("us", tz="UTC"),
    }
)


def store(folder, rows, **basis):
    columns = {name: [row[place] for row in rows] for place, name in enumerate(SCHEMA.names)}
    pq.write_table(pa.table(columns, schema=SCHEMA), folder / "consent.parquet")
    stated = {"kind": "consent", "source": "consents", "expires": "expires_at"}
    return Store(
        Manifest.model_validate(
            {
                "region": "north",
                "controllers": ["shop"],
                "storage_country": "SE",
                "data": "synthetic",
                "sources": {"consents": {"kind": "parquet", "path": "consent.parquet"}},
                "tables": {"t": {"shape": "subjects", "source": "consents", "subject": "subject_id"}},
                "lawful_basis": {
                    "retention": stated | basis,
                    "other": {"kind": "contract", "reference": "C"},
                },
            }
        ),
        base=folder,
    )


def allowed(folder, *rows):
    opened = store(folder, [("ann", "retention", *row) for row in rows])
    records = opened.consent_records("retention", NOW)
    return bool(permitted(np.array(["ann"]), opened.manifest.basis("retention"), records, NOW)[0])


def test_records_are_read_for_one_purpose_up_to_as_of(tmp_path):
    rows = [
        ("ann", "retention", "given", NOW - DAY, NOW + DAY),
        ("ann", "marketing", "withdrawn", NOW - DAY, None),
        ("ann", "retention", "withdrawn", NOW + DAY, None),
        (None, "retention", "given", NOW - DAY, None),
    ]
    (record,) = store(tmp_path, rows).consent_records("retention", NOW)
    assert (record.subject, record.state) == ("ann", ConsentState.GIVEN)
    assert (record.at, record.expires) == (NOW - DAY, NOW + DAY)


@pytest.mark.parametrize("purpose", ["other", "unheard-of"])
def test_a_purpose_without_a_source_has_no_records(tmp_path, purpose):
    assert store(tmp_path, []).consent_records(purpose, NOW) == ()


@pytest.mark.parametrize(
    ("rows", "holds"),
    [
        ([("given", NOW - DAY, None)], True),
        ([("Given ", NOW - DAY, None)], True),
        ([("given", NOW - DAY, NOW)], False),
        ([("given", NOW - DAY, datetime(1960, 1, 1, tzinfo=UTC))], False),
        ([("given", NOW - 2 * DAY, None), ("Opted out", NOW - DAY, None)], False),
        ([("given", NOW - 2 * DAY, None), ("no idea", NOW - DAY, None)], False),
        ([("given", NOW - 2 * DAY, None), (None, NOW - DAY, None)], False),
        ([("given", None, None)], False),
        ([("given", NOW - DAY, None), ("withdrawn", None, None)], False),
    ],
)
def test_what_cannot_be_read_never_permits(tmp_path, rows, holds):
    assert allowed(tmp_path, *rows) is holds


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(ColumnMissing, match="source consents: status"):
        store(tmp_path, [], state="status").consent_records("retention", NOW)


def test_a_replaced_duckdb_file_is_read_anew(tmp_path):
    path = tmp_path / "consent.duckdb"

    def written(state):
        fresh = tmp_path / "fresh.duckdb"
        with duckdb.connect(str(fresh)) as connection:
            connection.execute(
                "create table consent (subject_id varchar, purpose varchar, state varchar, ts timestamp)"
            )
            connection.execute("insert into consent values ('a', 'retention', ?, '2024-01-01')", [state])
        fresh.replace(path)

    written("given")
    stated = {
        "region": "north",
        "controllers": ["shop"],
        "storage_country": "SE",
        "data": "synthetic",
        "timezone": "UTC",
        "sources": {"consent": {"kind": "duckdb", "path": "consent.duckdb", "table": "consent"}},
        "tables": {"people": {"shape": "subjects", "source": "consent", "subject": "subject_id"}},
        "lawful_basis": {"retention": {"kind": "consent", "source": "consent"}},
    }
    store = Store(Manifest.model_validate(stated), base=tmp_path)
    now = datetime(2024, 6, 1, tzinfo=UTC)
    assert [each.state for each in store.consent_records("retention", now)] == ["given"]
    before = store.consent_version("retention")
    written("withdrawn")
    assert store.consent_version("retention") != before
    assert [each.state for each in store.consent_records("retention", now)] == ["withdrawn"]
    store.close()

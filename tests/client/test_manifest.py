"""The manifest: every fault at once, and what may be stated."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.manifest import Manifest, read_manifest
from foundation.errors import SettingsInvalid, SourceMissing
from foundation.toml_file import validate

EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/*/*.toml"))
MANIFESTS = [path for path in EXAMPLES if "region =" in path.read_text(encoding="utf-8")]


def manifest(**changes):
    stated = {
        "region": "north",
        "controllers": ["shop"],
        "storage_country": "SE",
        "data": "synthetic",
        "currency": "EUR",
        "sources": {"orders": {"kind": "parquet", "path": "orders.parquet"}},
        "tables": {"orders": events()},
    }
    return validate(stated | changes, Manifest, Path("region.toml"))


def events(**changes):
    table = {
        "shape": "events",
        "source": "orders",
        "subject": "who",
        "time": "at",
        "event": "Order Completed",
    }
    return table | changes


def subjects(**changes):
    return {"shape": "subjects", "source": "orders", "subject": "who"} | changes


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_examples_are_manifests(path):
    found = read_manifest(path)
    assert found.data in {"public", "synthetic"}
    assert found.lawful_basis


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceMissing, match="nowhere"):
        read_manifest(tmp_path / "nowhere.toml")


def test_all_faults_are_told_at_once_with_their_lines(tmp_path):
    path = tmp_path / "region.toml"
    path.write_text(
        'region = "north"\ncontrollers = ["shop"]\nstorage_country = "XX"\ndata = "public"\n'
        'timezone = "Mars/Olympus"\nsurprise = 1\n[sources.a]\nkind = "excel"\npath = "a.xlsx"\n'
        '[tables.t]\nshape = "subjects"\nsource = "a"\nsubject = "who"\n'
    )
    with pytest.raises(SettingsInvalid) as raised:
        read_manifest(path)
    for fault in (":3: storage_country", ":5: timezone", ":6: surprise", ":7: sources.a", "'csv', 'parquet'"):
        assert fault in raised.value.what


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"tables": {"orders": events(source="other")}}, "names a source that is not in"),
        ({"tables": {"orders": events(event=None)}}, "either event or event_column"),
        ({"tables": {"orders": events(event_names={"a": "b"})}}, "event_names needs event_column"),
        ({"tables": {"orders": events(price="p")}}, "price and quantity go together"),
        ({"tables": {"orders": events(value="v", value_minor="m")}}, "state one of value"),
        ({"tables": {"orders": events(value="v")}, "currency": None}, "currency is needed"),
        ({"tables": {"orders": subjects(subject=None)}}, "either subject or subject_from_row"),
        ({"tables": {"a": subjects(), "b": subjects()}}, "one subject table at most"),
        (
            {"tables": {"a": subjects(subject=None, subject_from_row=True, drop_duplicate_rows=True)}},
            "no duplicates to drop",
        ),
        ({"tables": {"orders": events(keep=[{"column": "a"}])}}, "exactly one test"),
        ({"tables": {"orders": events(keep=[{"column": "a", "equals": 1, "above": 2}])}}, "exactly one test"),
        ({"sources": {"orders": {"kind": "csv", "path": "${HOME}/a.csv"}}}, "may name"),
        ({"region_rule": {"by": "hash", "parts": 3, "part": 3}}, "part counts from 0"),
        ({"region_rule": {"by": "column", "column": "c", "values": [1]}}, "for a subject table alone"),
        (
            {"region_rule": {"by": "first_value", "table": "other", "column": "c", "values": ["a"]}},
            "needs an event table",
        ),
        ({"lawful_basis": {"retention": {"kind": "consent"}}}, "needs a source of consent records"),
        ({"lawful_basis": {"retention": {"kind": "contract"}}}, "needs a reference"),
        ({"lawful_basis": {"retention": {"kind": "consent", "source": "x"}}}, "lawful basis of retention"),
        ({"gates": {"other": {}}}, "which is no table"),
        ({"gates": {"orders": {"allowed_shares": {"nonsense": 0.1}}}}, "unknown gates: nonsense"),
        ({"gates": {"orders": {"allowed_shares": {"repeated_subject": 0.1}}}}, "not for a manifest"),
        ({"country_codes": {"Narnia": "NN"}}, "no ISO 3166"),
        ({"countries": ["se"]}, "no ISO 3166"),
        ({"currency": "euro"}, "pattern"),
        ({"controllers": []}, "at least 1 item"),
    ],
)
def test_a_fault_is_told(changes, fault):
    with pytest.raises(SettingsInvalid, match=fault):
        manifest(**changes)


def test_two_faults_of_the_whole_are_told_together():
    with pytest.raises(SettingsInvalid) as raised:
        manifest(tables={"orders": events(source="other")}, gates={"more": {}})
    assert "names a source" in raised.value.what
    assert "gates are stated for more" in raised.value.what


def test_a_basis_is_what_the_manifest_records():
    found = manifest(lawful_basis={"retention": {"kind": "contract", "reference": "C-1"}})
    basis = found.basis("retention")
    assert basis is not None
    assert (basis.purpose, basis.kind, basis.reference) == ("retention", "contract", "C-1")
    assert found.basis("marketing") is None


def test_money_takes_a_currency_only_where_there_is_money():
    assert manifest(currency=None).currency is None

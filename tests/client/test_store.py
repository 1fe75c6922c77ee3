"""Event tables through the store: the cube against a plain recomputation, and what may change a row."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.manifest import Manifest
from client.store import Store
from foundation.errors import CountryUnknown, SettingsInvalid
from privacy.plan import Plan
from profiles.catalogue import CART, CATALOGUE, NEVER_DAYS, ORDER, REFUND, VIEW, Ratio
from profiles.features import to_unit_interval

DAY = 86_400
AS_OF = date(2024, 6, 1)
MIDNIGHT = datetime(2024, 6, 1, tzinfo=UTC)
FEATURES = [name for name in CATALOGUE if not CATALOGUE[name].region_constant]
SCHEMA = pa.schema(
    {
        "subject_id": pa.string(),
        "ts": pa.timestamp("us", tz="UTC"),
        "event": pa.string(),
        "order_id": pa.string(),
        "value_minor": pa.int64(),
        "units": pa.int64(),
        "country": pa.string(),
    }
)
EVENTS = {
    "shape": "events",
    "source": "events",
    "subject": "subject_id",
    "time": "ts",
    "event_column": "event",
    "order": "order_id",
    "value_minor": "value_minor",
    "units": "units",
    "country": "country",
}
TASKS = {
    "churn": {"kind": "no_event", "event": ORDER, "days": 90},
    "again": {"kind": "event", "event": ORDER, "days": 30},
    "high": {"kind": "sum_at_least", "event": ORDER, "days": 90, "minimum": 20},
}


def plan(catalogue=("orders_all",), **data):
    stated = {
        "shape": "events",
        "train_as_of": AS_OF,
        "test_as_of": AS_OF,
        "active_event": ORDER,
        "active_days": 365,
        "currency": "EUR",
    }
    return Plan.model_validate(
        {
            "name": "p",
            "purpose": "retention",
            "controller": "shop",
            "tasks": TASKS,
            "data": stated | data,
            "inputs": {"catalogue": list(catalogue)},
            "normalisation": {"mode": "quantile", "noise_multiplier": 1},
            "training": {"rounds": 1, "local_steps": 1, "sampling_rate": 0.1, "noise_multiplier": 1,
                         "clipping_norm": 1, "learning_rate": 1},
            "evaluation": {"noise_multiplier": 1},
            "budget": {"epsilon": 3, "delta": 1e-5},
            "federation": {"quorum": 2},
            "regions": {name: {"public_size": 100, "weight": 1} for name in ("north", "south")},
        }
    )  # fmt: skip


def row(subject, days, *, event=ORDER, order=None, value=1_000, units=1, country="SE", seconds=0):
    """An event `days` before AS_OF (negative: after)."""
    at = MIDNIGHT - timedelta(days=days) + timedelta(seconds=seconds)
    return (subject, at, event, order, value, units, country)


def store(folder, rows, *, table=None, schema=SCHEMA, **changes):
    names = schema.names
    columns = {name: [each[place] for each in rows] for place, name in enumerate(names)}
    pq.write_table(pa.table(columns, schema=schema), folder / "events.parquet")
    stated = {
        "region": "north",
        "controllers": ["shop"],
        "storage_country": "SE",
        "data": "synthetic",
        "currency": "EUR",
        "sources": {"events": {"kind": "parquet", "path": "events.parquet"}},
        "tables": {"events": EVENTS | (table or {})},
    }
    return Store(Manifest.model_validate(stated | changes), base=folder)


def snapshot(rows, catalogue=("orders_all",), data=None, **changes):
    with tempfile.TemporaryDirectory() as folder:
        opened = store(Path(folder), rows, **changes)
        found = opened.snapshot(plan(catalogue, **(data or {})), AS_OF)
        opened.close()
        return found


# ---- a plain recomputation


def occurrences(rows):
    orders, single = {}, []
    for subject, at, event, order, value, units, _ in rows:
        seconds, minor = int(at.timestamp()), value or 0
        if order is None:
            single.append([subject, event, seconds, minor, units, 1])
            continue
        key = (subject, event, order, seconds // DAY)
        if key in orders:
            found = orders[key]
            orders[key] = [*key[:2], min(found[2], seconds), found[3] + minor, found[4] + units, found[5] + 1]
        else:
            orders[key] = [subject, event, seconds, minor, units, 1]
    return sorted([*orders.values(), *single], key=lambda each: each[2])


def term(events, source):
    at = int(MIDNIGHT.timestamp())
    own = [each for each in events if each[1] == source.event and each[2] < at]
    since = -(10**18) if source.window_days is None else at - DAY * source.window_days
    until = at - DAY * source.from_days
    inside = [each for each in own if since <= each[2] < until]
    gaps = [(later[2] - earlier[2]) / DAY for earlier, later in pairwise(own)
            if since <= later[2] < until]  # fmt: skip
    return {
        "count": len(inside),
        "value": sum(each[3] for each in inside) / 100,
        "value_max": max((each[3] for each in inside), default=0) / 100,
        "units": sum(each[4] for each in inside),
        "lines": sum(each[5] for each in inside),
        "days": len({each[2] // DAY for each in inside}),
        "months": len({(at - 1 - each[2]) // (30 * DAY) for each in inside}),
        "gaps": len(gaps),
        "gap_days": sum(gaps),
        "since_last": (at - own[-1][2]) / DAY if own else NEVER_DAYS,
        "since_first": (at - own[0][2]) / DAY if own else NEVER_DAYS,
    }[source.measure]


def recomputed(rows):
    at = int(MIDNIGHT.timestamp())
    facts = occurrences(rows)
    active = sorted({each[0] for each in facts if each[1] == ORDER and at - 365 * DAY <= each[2] < at})
    values, labels = [], []
    for subject in active:
        own = [each for each in facts if each[0] == subject]
        values.append([])
        for name in FEATURES:
            source = CATALOGUE[name].source
            if isinstance(source, Ratio):
                above = term(own, source.above) * source.factor
                below = max(term(own, source.below), source.least_below)
                values[-1].append(source.empty if below == 0 else above / below)
            else:
                values[-1].append(term(own, source))
        ahead = [each for each in own if each[1] == ORDER and each[2] >= at]
        quarter = [each for each in ahead if each[2] < at + 90 * DAY]
        month = [each for each in ahead if each[2] < at + 30 * DAY]
        labels.append([bool(month), not quarter, sum(each[3] for each in quarter) >= 2_000])
    return active, np.array(values, dtype=np.float64).reshape(-1, len(FEATURES)), labels


ROWS = st.lists(
    st.builds(
        row,
        subject=st.sampled_from(["a", "b", "c", "ä"]),
        days=st.sampled_from([-100, -90, -89, -30, -29, 0, 1, 29, 30, 31, 90, 180, 181, 365, 366, 700]),
        event=st.sampled_from([ORDER, ORDER, REFUND, VIEW, CART]),
        order=st.sampled_from([None, "1", "2"]),
        value=st.sampled_from([0, 1, 999, 2_000]),
        units=st.integers(0, 3),
        seconds=st.sampled_from([0, 1, DAY - 1]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=12, deadline=None)
@given(ROWS)
def test_the_cube_equals_a_plain_recomputation(rows):
    found = snapshot(rows, FEATURES)
    active, values, labels = recomputed(rows)
    assert found.subjects.tolist() == active
    expected = to_unit_interval(values, [CATALOGUE[name] for name in FEATURES])
    np.testing.assert_allclose(found.numeric, expected, rtol=1e-6, atol=1e-7)
    assert found.labels.astype(bool).tolist() == labels


@settings(max_examples=6, deadline=None)
@given(ROWS, ROWS)
def test_adding_a_subject_leaves_every_other_row_bit_equal(rows, more):
    others = [("zz" + each[0][:1], *each[1:]) for each in more] + [("A", *each[1:]) for each in more]
    before, after = snapshot(rows, FEATURES), snapshot(rows + others, FEATURES)
    kept = np.isin(after.subjects, before.subjects)
    assert np.array_equal(after.subjects[kept], before.subjects)
    for name in ("numeric", "labels", "countries"):
        assert np.array_equal(getattr(after, name)[kept], getattr(before, name))


@settings(max_examples=6, deadline=None)
@given(ROWS, ROWS)
def test_a_future_row_changes_no_feature(rows, more):
    future = [(*each[:1], MIDNIGHT + abs(each[1] - MIDNIGHT), *each[2:]) for each in more]
    before, after = snapshot(rows, FEATURES), snapshot(rows + future, FEATURES)
    assert np.array_equal(before.subjects, after.subjects)
    assert np.array_equal(before.numeric, after.numeric)
    assert np.array_equal(before.countries, after.countries)


# ---- rules, one by one


def test_a_line_after_as_of_of_an_order_before_it_changes_no_feature():
    rows = [row("a", 1, order="7", seconds=DAY - 1)]
    late = [*rows, row("a", 0, order="7")]
    names = ["orders_all", "spend_all", "lines_all"]
    assert np.array_equal(snapshot(rows, names).numeric, snapshot(late, names).numeric)


def test_as_of_belongs_to_the_labels():
    found = snapshot([row("a", 5), row("a", 0), row("b", 5), row("b", -90), row("c", 5), row("c", -89)])
    churn = sorted(TASKS).index("churn")
    assert found.labels[:, churn].tolist() == [0.0, 1.0, 0.0]


def test_active_people_have_the_event_in_the_days_before_as_of():
    rows = [row("today", 0), row("yesterday", 1), row("a year ago", 365), row("before", 366)]
    assert snapshot(rows).subjects.tolist() == ["a year ago", "yesterday"]


def test_labels_are_not_read_where_none_are_asked(tmp_path):
    opened = store(tmp_path, [row("a", 1)])
    assert opened.snapshot(plan(), AS_OF, labels=False).labels is None
    assert opened.active_count(plan(), AS_OF) == 1


def test_a_store_reads_again_after_it_was_closed(tmp_path):
    opened = store(tmp_path, [row("a", 1)])
    before = opened.snapshot(plan(["orders_all"]), AS_OF)
    other = opened.snapshot(plan(["views_all"]), AS_OF)
    opened.close()
    assert np.array_equal(opened.snapshot(plan(["orders_all"]), AS_OF).numeric, before.numeric)
    assert other.numeric.tolist() == [[0.0]]


def test_an_empty_region_is_an_empty_snapshot():
    found = snapshot([row("a", 1)], FEATURES, region_rule=first_order("NO"))
    assert found.numeric.shape == (0, len(FEATURES))
    assert found.labels.shape == (0, 3)


def test_a_snapshot_of_events_needs_an_as_of(tmp_path):
    with pytest.raises(SettingsInvalid):
        store(tmp_path, [row("a", 1)]).snapshot(plan(), None)


# ---- money


def in_own_unit(found, names):
    """The first person's features of a log scale, back in their own unit."""
    highs = np.array([CATALOGUE[name].high for name in names])
    return np.expm1(found.numeric[0] * np.log1p(highs))


def spend_of(found):
    return round(float(in_own_unit(found, ["spend_all"])[0]), 2)


def test_minor_units_become_the_plans_currency():
    rows = [row("a", 1, value=12_345)]
    assert spend_of(snapshot(rows, ["spend_all"])) == 123.45
    rates = {"currency": "GBP", "exchange_rates": {"EUR": 0.5}}
    assert spend_of(snapshot(rows, ["spend_all"], rates)) == pytest.approx(61.73, abs=0.01)
    assert spend_of(snapshot(rows, ["spend_all"], minor_digits=0)) == pytest.approx(12_345, rel=1e-5)


def test_the_threshold_of_a_label_is_in_the_plans_currency():
    rows = [row("a", 1), row("a", -1, value=3_000)]
    rates = {"currency": "GBP", "exchange_rates": {"EUR": 0.5}}
    assert snapshot(rows).labels[0, 2] == 1.0
    assert snapshot(rows, data=rates).labels[0, 2] == 0.0


def test_a_currency_without_a_rate_is_refused():
    with pytest.raises(SettingsInvalid, match="exchange rate from EUR to GBP"):
        snapshot([row("a", 1)], data={"currency": "GBP"})


PRICED = pa.schema({"who": pa.int64(), "at": pa.timestamp("ns"), "price": pa.float64(), "pieces": pa.int32()})
PRICED_TABLE = {"shape": "events", "source": "events", "subject": "who", "time": "at", "event": ORDER,
                "price": "price", "quantity": "pieces", "units": "pieces"}  # fmt: skip


def test_money_is_rounded_once_a_line(tmp_path):
    rows = [(7, datetime(2024, 5, 1), 0.125, 1)] * 4  # noqa: DTZ001 naive on purpose
    opened = store(
        tmp_path, rows, schema=PRICED, tables={"events": PRICED_TABLE}, timezone="Europe/Stockholm"
    )
    found = opened.snapshot(plan(["spend_all"]), AS_OF)
    assert spend_of(found) == 0.48
    assert found.subjects.tolist() == ["7"]


def test_absolute_drops_the_sign_of_money_and_units(tmp_path):
    rows = [(7, datetime(2024, 5, 1), 2.5, -4)]  # noqa: DTZ001 naive on purpose
    opened = store(
        tmp_path, rows, schema=PRICED, tables={"events": PRICED_TABLE | {"absolute": True}}, timezone="UTC"
    )
    names = ["spend_all", "units_all"]
    found = opened.snapshot(plan(names), AS_OF)
    assert in_own_unit(found, names) == pytest.approx([10.0, 4.0], abs=1e-3)


def test_local_times_become_utc(tmp_path):
    rows = [(1, datetime(2024, 6, 1, 1, 59), 1.0, 1), (2, datetime(2024, 6, 1, 2, 0), 1.0, 1)]  # noqa: DTZ001
    opened = store(
        tmp_path, rows, schema=PRICED, tables={"events": PRICED_TABLE}, timezone="Europe/Stockholm"
    )
    assert opened.snapshot(plan(), AS_OF).subjects.tolist() == ["1"]


# ---- region rules


def first_order(*countries):
    return {"by": "first_value", "table": "events", "column": "country", "values": list(countries)}


def test_a_person_belongs_to_the_country_of_the_first_order():
    rows = [row("a", 9, country="SE"), row("a", 2, country="NO"), row("b", 9, country="NO")]
    for country, who in (("SE", ["a"]), ("NO", ["b"])):
        found = snapshot(rows, region_rule=first_order(country))
        assert found.subjects.tolist() == who
        assert found.countries.tolist() == [country]


def test_rows_of_the_first_moment_are_ordered_by_order():
    rows = [row("a", 9, order="2", country="SE"), row("a", 9, order="1", country="NO")]
    assert len(snapshot(rows, region_rule=first_order("NO"))) == 1
    assert len(snapshot(rows[::-1], region_rule=first_order("SE"))) == 0


def test_the_first_row_decides_whatever_its_event():
    rows = [row("a", 9, event="Page Shared", country="NO"), row("a", 2, country="SE")]
    assert len(snapshot(rows, region_rule=first_order("NO"))) == 1


def test_hash_parts_are_disjoint_and_whole():
    rows = [row(f"person {number}", 1) for number in range(60)]
    parts = [snapshot(rows, region_rule={"by": "hash", "parts": 3, "part": part}) for part in range(3)]
    assert sorted(who for part in parts for who in part.subjects) == sorted(each[0] for each in rows)
    assert all(len(part) > 0 for part in parts)


# ---- filters, names, countries


def test_event_names_are_translated_and_others_left_out():
    names = {"event_names": {"bought": ORDER, "saw": VIEW}}
    rows = [row("a", 1, event="bought"), row("a", 1, event="saw"), row("a", 1, event=ORDER)]
    features = ["orders_all", "views_all"]
    found = snapshot(rows, features, table=names)
    assert in_own_unit(found, features) == pytest.approx([1.0, 1.0], rel=1e-5)


def test_duplicate_rows_are_dropped_where_asked():
    rows = [row("a", 1, units=2)] * 3
    kept = snapshot(rows, ["units_all"])
    assert in_own_unit(kept, ["units_all"]) == pytest.approx([6.0], rel=1e-5)
    dropped = snapshot(rows, ["units_all"], table={"drop_duplicate_rows": True})
    assert in_own_unit(dropped, ["units_all"]) == pytest.approx([2.0], rel=1e-5)


def test_countries_are_mapped_to_codes():
    rows = [row("a", 1, country="Sverige"), row("b", 1, country="NO"), row("c", 1, country=None)]
    found = snapshot(rows, country_codes={"Sverige": "SE"})
    assert found.countries.tolist() == ["SE", "NO", ""]
    assert snapshot(rows[2:], countries=["FI"]).countries.tolist() == ["FI"]


def test_an_unknown_country_is_refused_without_naming_it():
    with pytest.raises(CountryUnknown) as raised:
        snapshot([row("a", 1, country="Narnia")])
    assert "Narnia" not in str(raised.value)


def test_rows_that_cannot_be_counted_are_left_out():
    rows = [row("a", 1), row(None, 1), row("b", 1, value=-5), row("c", 1, event=None)]
    rows.append(("d", None, ORDER, None, 1, 1, "SE"))
    assert snapshot(rows).subjects.tolist() == ["a"]


# ---- one row's form changes nobody else's


CSV_EVENTS = EVENTS | {"order": None}


def csv_snapshot(folder, lines):
    head = "subject_id,ts,event,order_id,value_minor,units,country"
    (folder / "events.csv").write_text("\n".join([head, *lines]) + "\n")
    stated = {
        "region": "north",
        "controllers": ["shop"],
        "storage_country": "SE",
        "data": "synthetic",
        "currency": "EUR",
        "timezone": "UTC",
        "sources": {"events": {"kind": "csv", "path": "events.csv"}},
        "tables": {"events": CSV_EVENTS},
    }
    opened = Store(Manifest.model_validate(stated), base=folder)
    found = opened.snapshot(plan(["days_since_last_order"]), AS_OF)
    opened.close()
    return dict(zip(found.subjects.tolist(), found.numeric[:, 0].tolist(), strict=True))


@pytest.mark.parametrize(
    "other",
    [
        "A1,2024-05-20 10:00:00,Order Completed,,100,1,SE",
        "9,12/25/2023,Order Completed,,100,1,SE",
        "9.5,2024-05-20T10:00:00Z,Order Completed,,100,1,SE",
    ],
)
def test_how_one_persons_row_is_written_changes_nobody_else_in_a_csv(tmp_path, other):
    lines = ["007,2024-05-02,Order Completed,,100,1,SE", "8,2024-05-03 08:00:00,Order Completed,,100,1,SE"]
    before = csv_snapshot(tmp_path, lines)
    after = csv_snapshot(tmp_path, [*lines, other])
    assert sorted(before) == ["007", "8"]
    assert {who: after[who] for who in before} == before

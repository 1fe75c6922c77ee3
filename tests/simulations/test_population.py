"""Rules of the synthetic world: one seed one world, a truth that is exact, and no look ahead."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from client.manifest import read_manifest
from foundation.errors import SourceMissing, UsageWrong
from profiles.catalogue import ORDER
from simulations import oracle, population, shopping
from simulations.oracle import CHURN, DAY, EVENTS, HIGH_VALUE, TASKS, WINDOW_DAYS, Events
from simulations.population import CHUNK, World, chunks, microseconds, read_truth, write_world
from simulations.shopping import MARKETS

WORLD = World()
SNAPSHOTS = (WORLD.train_as_of, WORLD.test_as_of)
REGIONS = tuple(WORLD.people)
FALSE_ALARM = 1e-3
"""Chance that a right world with another seed would fail the calibration test."""


@dataclass(frozen=True, slots=True, repr=False)
class Told:
    """A region's parquet files as arrays; `events.person` is the number in the identifier."""

    events: Events
    truth: dict[date, tuple[np.ndarray, dict[str, np.ndarray]]]
    labels: dict[date, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("world")
    write_world(WORLD, path)
    return path


@pytest.fixture(scope="module")
def told(folder):
    return {region: read_region(folder, region) for region in REGIONS}


def persons(subjects):
    return np.array([int(subject.rpartition("-")[2]) for subject in subjects], dtype=np.int64)


def read_region(folder: Path, region: str) -> Told:
    events = read_events(folder / region / "events.parquet")
    truth = {}
    for as_of in SNAPSHOTS:
        subjects, probabilities = read_truth(folder, region, as_of)
        truth[as_of] = (persons(subjects), probabilities)
    labels = {as_of: labels_of(events, region, as_of, truth[as_of][0]) for as_of in SNAPSHOTS}
    return Told(events, truth, labels)


def read_events(path: Path) -> Events:
    table = pq.read_table(path)
    subjects = table["subject_id"].combine_chunks().dictionary_encode()
    kinds = table["event"].combine_chunks().dictionary_encode()
    names = np.array([EVENTS.index(name) for name in kinds.dictionary.to_pylist()])
    return Events(
        person=persons(subjects.dictionary.to_pylist())[subjects.indices.to_numpy()],
        time=table["ts"].to_numpy().astype("datetime64[us]").astype(np.int64),
        kind=names[kinds.indices.to_numpy()],
        order=np.zeros(table.num_rows, dtype=np.int64),
        value_minor=table["value_minor"].fill_null(-1).to_numpy(),
        units=table["units"].fill_null(-1).to_numpy().astype(np.int64),
    )


def labels_of(events: Events, region: str, as_of: date, people: np.ndarray) -> dict[str, np.ndarray]:
    """Labels by the rule that a plan states, from the written rows alone."""
    start = microseconds(as_of)
    inside = (events.time >= start) & (events.time < start + WINDOW_DAYS * DAY)
    bought = inside & (events.kind == EVENTS.index(ORDER))
    size = WORLD.people[region]
    orders = np.bincount(events.person[bought], minlength=size)
    spent = np.bincount(events.person[bought], events.value_minor[bought], minlength=size)
    euros = spent / 100 * MARKETS[region].euros_per_unit
    return {CHURN: orders[people] == 0, HIGH_VALUE: euros[people] >= oracle.HIGH_VALUE_EUROS}


def pooled(told, as_of, task):
    probability = np.concatenate([told[region].truth[as_of][1][task] for region in REGIONS])
    label = np.concatenate([told[region].labels[as_of][task] for region in REGIONS])
    return label, probability


def largest_deviation(label, probability):
    """Largest |observed - expected| over the deciles of probability, in standard deviations."""
    deciles = np.array_split(np.argsort(probability, kind="stable"), 10)
    return max(
        abs(label[rows].sum() - probability[rows].sum())
        / np.sqrt((probability[rows] * (1 - probability[rows])).sum())
        for rows in deciles
    )


def same_rows(left: Path, right: Path, names: tuple[str, ...] = ("events", "consent", "truth")):
    return all(
        pq.read_table(left / f"{n}.parquet").equals(pq.read_table(right / f"{n}.parquet")) for n in names
    )


def test_one_seed_gives_one_world_and_another_seed_another(tmp_path):
    world = World(people={"eu": 300, "sea": 200})
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        write_world(replace(world, seed=seed), tmp_path / name)
    for region in world.people:
        assert same_rows(tmp_path / "first" / region, tmp_path / "again" / region)
        assert not same_rows(tmp_path / "first" / region, tmp_path / "other" / region)
    assert (tmp_path / "first/manifest.json").read_bytes() == (tmp_path / "again/manifest.json").read_bytes()


def test_more_people_and_other_regions_leave_a_persons_rows_unchanged(tmp_path):
    few, many = World(people={"us": 150}), World(people={"eu": 10, "us": CHUNK + 50})
    write_world(few, tmp_path / "few")
    write_world(many, tmp_path / "many")
    for name in ("events", "consent", "truth"):
        small, large = (pq.read_table(tmp_path / size / "us" / f"{name}.parquet") for size in ("few", "many"))
        kept = np.array(large["subject_id"].to_pylist()) < f"us-{150:06d}"
        assert large.filter(kept).equals(small)


@pytest.mark.parametrize("name", ["events", "consent", "truth"])
def test_files_have_the_stated_schema_and_a_row_group_or_two_a_chunk(folder, name):
    schema = {"events": population.EVENT_SCHEMA, "consent": population.CONSENT_SCHEMA}
    file = pq.ParquetFile(folder / "eu" / f"{name}.parquet")
    assert file.schema_arrow.equals(schema.get(name, population.TRUTH_SCHEMA))
    groups = WORLD.people["eu"] // CHUNK
    assert file.num_row_groups == groups * (len(SNAPSHOTS) if name == "truth" else 1)


@pytest.mark.parametrize("region", REGIONS)
def test_events_are_those_of_the_catalogue_with_money_and_pieces_on_orders_only(folder, region):
    table = pq.read_table(folder / region / "events.parquet")
    bought = np.isin(table["event"].to_pylist(), ["Order Completed", "Order Refunded"])
    assert set(table["event"].to_pylist()) == set(EVENTS)
    assert set(table["country"].to_pylist()) == set(MARKETS[region].countries)
    for column in ("order_id", "value_minor", "units"):
        assert (np.array(table[column].is_valid()) == bought).all()
    assert min(table.filter(bought)["value_minor"].to_pylist()) > 0
    assert 20 <= table.num_rows / WORLD.people[region] <= 65


def test_every_order_has_an_id_of_its_own_and_every_refund_returns_one_order(folder):
    table = pq.read_table(
        folder / "us" / "events.parquet", columns=["event", "order_id", "ts", "value_minor"]
    )
    rows = {name: table.filter(np.array(table["event"].to_pylist()) == name) for name in EVENTS[2:]}
    orders = {row["order_id"]: row for row in rows["Order Completed"].to_pylist()}
    assert len(orders) == rows["Order Completed"].num_rows
    for refund in rows["Order Refunded"].to_pylist():
        order = orders[refund["order_id"]]
        assert refund["ts"] > order["ts"]
        assert refund["value_minor"] == order["value_minor"]
    assert 0.02 < rows["Order Refunded"].num_rows / len(orders) < 0.10


@pytest.mark.parametrize("region", REGIONS)
def test_labels_computed_from_the_written_events_are_the_ones_drawn(told, region):
    for place, as_of in enumerate(SNAPSHOTS):
        drawn = [(chunk.windows[place], chunk.people) for chunk in chunks(WORLD, region)]
        active = np.concatenate([window.known.active[:people] for window, people in drawn])
        assert (np.flatnonzero(active) == told[region].truth[as_of][0]).all()
        for task in TASKS:
            label = np.concatenate([window.drawn[task][:people] for window, people in drawn])[active]
            assert (label == told[region].labels[as_of][task]).all()


@pytest.mark.parametrize("region", REGIONS)
def test_the_truth_can_be_computed_again_from_events_before_the_snapshot(told, region):
    for as_of in SNAPSHOTS:
        start = microseconds(as_of)
        people, probabilities = told[region].truth[as_of]
        before = told[region].events.rows(told[region].events.time < start)
        known = oracle.history(before, WORLD.people[region], start, MARKETS[region].euros_per_minor)
        assert (np.flatnonzero(known.active) == people).all()
        for task, again in oracle.truth(known).items():
            np.testing.assert_allclose(again[people], probabilities[task], rtol=1e-9)


def test_labels_occur_as_often_as_the_truth_says_in_every_decile(told):
    groups = [pooled(told, as_of, task) for as_of in SNAPSHOTS for task in TASKS]
    limit = norm.isf(FALSE_ALARM / 2 / (10 * len(groups)))
    assert max(largest_deviation(*group) for group in groups) < limit


@pytest.mark.parametrize("wrong", [lambda p: p**1.25, lambda p: np.clip(p + 0.04, 0.001, 0.999)])
def test_the_calibration_test_would_notice_a_truth_that_is_off(told, wrong):
    limit = norm.isf(FALSE_ALARM / 2 / 40)
    for task in TASKS:
        label, probability = pooled(told, WORLD.test_as_of, task)
        assert largest_deviation(label, wrong(probability)) > limit


@pytest.mark.parametrize(
    ("task", "rates", "ceiling"),
    [(CHURN, (0.3, 0.6), (0.88, 0.93)), (HIGH_VALUE, (0.14, 0.30), (0.87, 0.92))],
)
def test_the_world_is_as_hard_as_it_says(told, task, rates, ceiling):
    for as_of in SNAPSHOTS:
        label, probability = pooled(told, as_of, task)
        assert ceiling[0] < roc_auc_score(label, probability) < ceiling[1]
        for region in REGIONS:
            assert rates[0] < told[region].labels[as_of][task].mean() < rates[1]


def inputs(told, region, as_of):
    """Log features such as the catalogue defines."""
    people = told[region].truth[as_of][0]
    known = oracle.history(
        told[region].events, WORLD.people[region], microseconds(as_of), MARKETS[region].euros_per_minor
    )
    gap = np.where(known.orders > 1, known.gap, 730)
    columns = [known.recency, known.tenure, gap, known.orders, known.orders_year, known.mean_order,
               known.mean_order * known.orders, known.views_month, known.views_quarter, known.carts_month,
               known.refunds]  # fmt: skip
    return np.log1p(np.column_stack(columns)[people])


@pytest.mark.parametrize("task", TASKS)
def test_logistic_regression_on_log_features_comes_close_to_the_oracle_but_not_to_it(told, task):
    train, test = (np.concatenate([inputs(told, region, day) for region in REGIONS]) for day in SNAPSHOTS)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    model.fit(train, pooled(told, WORLD.train_as_of, task)[0])
    label, probability = pooled(told, WORLD.test_as_of, task)
    best, reached = roc_auc_score(label, probability), roc_auc_score(label, model.predict_proba(test)[:, 1])
    assert 0.003 < best - reached < 0.03


def test_regions_differ_in_activity_and_prices(told):
    def mean_order(region):
        events = told[region].events
        return events.value_minor[events.kind == EVENTS.index(ORDER)].mean() * MARKETS[region].euros_per_minor

    pace = {region: len(told[region].events.time) / people for region, people in WORLD.people.items()}
    assert pace["eu"] < pace["us"] < pace["sea"]
    assert mean_order("sea") < mean_order("eu") < mean_order("us")


def states_at(rows, as_of):
    """Last record of each person before as_of, read with its expiry."""
    state = {}
    for row in sorted(rows, key=lambda row: row["ts"]):
        if row["ts"].date() < as_of:
            ended = row["expires_at"] is not None and row["expires_at"].date() <= as_of
            state[row["subject_id"]] = "expired" if ended else row["state"]
    return state


def test_consent_states_have_the_stated_shares_at_both_snapshots(folder):
    counts = {day: dict.fromkeys(population.STATES, 0) for day in SNAPSHOTS}
    for region in REGIONS:
        rows = pq.read_table(folder / region / "consent.parquet").to_pylist()
        assert {row["purpose"] for row in rows} == {"retention"}
        for day in SNAPSHOTS:
            told_states = list(states_at(rows, day).values())
            assert len(told_states) == WORLD.people[region]
            for state in counts[day]:
                counts[day][state] += told_states.count(state)
    shares = [{state: n / 20_000 for state, n in counts[day].items()} for day in SNAPSHOTS]
    for share, withdrawn in zip(shares, (0.03, 0.045), strict=True):
        expected = {"refused": 0.06, "withdrawn": withdrawn, "expired": 0.01, "renewed": 0.05}
        for state, stated in expected.items():
            assert share[state] == pytest.approx(stated, abs=4 * np.sqrt(stated * (1 - stated) / 20_000))


def test_a_person_is_asked_before_their_first_event_and_withdraws_after(folder):
    events = pq.read_table(folder / "sea" / "events.parquet", columns=["subject_id", "ts"])
    first = events.group_by("subject_id").aggregate([("ts", "min")])
    first = dict(zip(first["subject_id"].to_pylist(), first["ts_min"].to_pylist(), strict=True))
    asked = {}
    for row in pq.read_table(folder / "sea" / "consent.parquet").to_pylist():
        if row["state"] in {"given", "refused"}:
            assert row["subject_id"] not in asked
            assert row["ts"] <= first[row["subject_id"]]
            asked[row["subject_id"]] = row
        else:
            given = asked[row["subject_id"]]
            assert given["state"] == "given"
            assert row["ts"] >= given["ts"]
            if row["state"] == "renewed":
                assert row["ts"] <= given["expires_at"]
            if row["state"] == "expired":
                assert row["ts"] == given["expires_at"]


AS_OF = 400 * DAY
rows = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(0, 2 * AS_OF),
        st.sampled_from(range(len(EVENTS))),
        st.integers(1, 10**6),
    ),
    max_size=30,
)


def as_events(drawn):
    person, time, kind, value = np.array(drawn, dtype=np.int64).reshape(-1, 4).T
    return Events(person, time, kind, np.zeros_like(kind), value, np.ones_like(kind))


def truth_of(drawn):
    return oracle.truth(oracle.history(as_events(drawn), 5, AS_OF, 0.01))


@given(rows, rows)
def test_a_future_row_changes_no_truth(drawn, later):
    future = [(person, time + AS_OF, kind, value) for person, time, kind, value in later]
    now, then = truth_of(drawn), truth_of(drawn + future)
    past_only = truth_of([row for row in drawn if row[1] < AS_OF])
    for task in TASKS:
        assert (now[task] == then[task]).all()
        assert (now[task] == past_only[task]).all()


@given(rows, rows)
def test_another_persons_rows_change_no_truth(drawn, others):
    mine = [row for row in drawn if row[0] == 0]
    alone = truth_of(mine)
    together = truth_of(mine + [(max(1, person), *rest) for person, *rest in others])
    for task in TASKS:
        assert alone[task][0] == together[task][0]


@given(rows)
def test_a_truth_is_a_probability_and_nobody_is_of_high_value_without_an_order(drawn):
    truth = truth_of(drawn)
    assert ((truth[CHURN] >= 0) & (truth[CHURN] <= 1)).all()
    assert ((truth[HIGH_VALUE] >= 0) & (truth[HIGH_VALUE] <= 1 - truth[CHURN])).all()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10**6)), min_size=1), st.integers(0, 2**32))
def test_a_total_is_split_to_the_cent_into_positive_values(pairs, seed):
    counts = np.array([count for count, _ in pairs])
    totals = np.where(counts > 0, counts + [extra for _, extra in pairs], 0)
    values = shopping._split(totals, counts, np.random.default_rng(seed))
    assert (values >= 1).all()
    assert (np.bincount(np.repeat(np.arange(len(counts)), counts), values, len(counts)) == totals).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**63), st.sampled_from(REGIONS))
def test_nothing_a_window_adds_lies_before_its_snapshot(seed, region):
    generator = np.random.default_rng(seed)
    before = shopping.past(MARKETS[region], 50, 5_000 * DAY, generator)
    window, after = shopping.window(MARKETS[region], before, 50, 5_000 * DAY, generator)
    again = oracle.history(after, 50, 5_000 * DAY, MARKETS[region].euros_per_minor)
    for task, probability in oracle.truth(again).items():
        assert (probability == window.truth[task]).all()


def test_the_manifest_states_how_the_world_was_made(folder):
    facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert facts["people"] == WORLD.people
    assert facts["seed"] == WORLD.seed
    assert facts["format"] == population.WORLD_FORMAT
    assert (facts["train_as_of"], facts["test_as_of"]) == tuple(day.isoformat() for day in SNAPSHOTS)


@pytest.mark.parametrize("region", REGIONS)
def test_the_example_manifests_describe_the_world(region):
    manifest = read_manifest(Path(__file__).parents[2] / "examples/synthetic" / f"{region}.toml")
    assert manifest.region == region
    assert manifest.data == "synthetic"
    assert manifest.countries == list(MARKETS[region].countries)
    assert manifest.currency == MARKETS[region].currency
    for name, source in manifest.sources.items():
        assert source.path == f"world/{region}/{name}.parquet"
    table, basis = manifest.event_tables["events"], manifest.lawful_basis[population.PURPOSE]
    assert {table.subject, table.time, table.event_column} <= set(population.EVENT_SCHEMA.names)
    assert {table.value_minor, table.units, table.country} <= set(population.EVENT_SCHEMA.names)
    assert {basis.subject, basis.purpose, basis.state, basis.time, basis.expires} == set(
        population.CONSENT_SCHEMA.names
    )


def test_a_world_cut_short_has_no_truth_to_read(folder, tmp_path):
    with pytest.raises(SourceMissing):
        read_truth(tmp_path, "eu", WORLD.train_as_of)
    with pytest.raises(SourceMissing):
        read_truth(folder, "eu", WORLD.train_as_of + timedelta(days=1))
    write_world(World(people={"us": 20}), tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(SourceMissing):
        read_truth(tmp_path, "us", WORLD.train_as_of)


def test_worlds_whose_truth_would_not_hold_are_refused():
    with pytest.raises(UsageWrong):
        World(people={"mars": 10})
    with pytest.raises(UsageWrong):
        World(test_as_of=WORLD.train_as_of + timedelta(days=WINDOW_DAYS - 1))
    with pytest.raises(ValueError, match="eu"):
        World(people={"eu": 0})

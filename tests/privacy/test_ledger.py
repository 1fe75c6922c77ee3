"""The ledger checks before it records, never forgets, and shows any change to what it holds."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select, text

from foundation.database import metadata, open_database
from foundation.errors import BudgetExceeded, LedgerBroken, RequestConflict, RunClosed
from privacy import ledger
from privacy.accounting import pld_epsilon, renyi_epsilon
from privacy.budget import PERIOD_DAYS, Limit
from privacy.events import Charge

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 10, tzinfo=UTC)
LIMIT = Limit(3.0, 100_000)
PLAN, OTHER = "ab" * 32, "cd" * 32
TABLES = [ledger.entries, ledger.reservations]
HALF = Charge("training", 12.0, 1.0, 10)
"""Ten releases at noise 12: epsilon about 1.2 at delta 1e-6, so that two runs fit the limit."""


def fresh(path=None):
    engine = open_database(path)
    metadata.create_all(engine, tables=TABLES)
    return engine


@pytest.fixture
def connection():
    engine = fresh()
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def run_id(number):
    return f"{number:032x}"


def reserve(connection, run, charges=(HALF,), **changes):
    asked = {"plan": PLAN, "controller": "shop", "population": "train", "limit": LIMIT, "now": START}
    ledger.reserve(connection, run=run_id(run), charges=list(charges), **asked | changes)


def charge(connection, run, asked=HALF, **changes):
    whose = {"plan": PLAN, "population": "train", "now": START} | changes
    return ledger.charge(connection, run=run_id(run), request="cd" * 32, charge=asked, **whose)


def account(connection, *, controller="shop", population="train", limit=LIMIT, now=START):
    return ledger.account(connection, controller=controller, population=population, limit=limit, now=now)


def one(noise=12.0, kind="training"):
    return Charge(kind, noise, 1.0, 1)


# The chain.


def test_an_empty_ledger_has_a_head_of_zeros_and_spent_nothing(connection):
    assert ledger.head(connection) == (0, bytes(32))
    assert list(ledger.read(connection)) == []
    found = account(connection)
    assert (found.spent.epsilon, found.reserved, found.lifetime, found.left) == (0.0, 0.0, 0.0, LIMIT.epsilon)


def test_an_entry_reads_back_as_it_was_recorded(connection):
    asked = Charge("training", 1.96, 0.02, 20)
    reserve(connection, 1, [asked])
    recorded = charge(connection, 1, asked)
    assert list(ledger.read(connection)) == [recorded]
    assert recorded.charge == asked
    assert recorded.recorded_at == START
    assert ledger.head(connection)[0] == recorded.sequence == 1


def test_an_entry_states_unit_and_relation(connection):
    reserve(connection, 1)
    charge(connection, 1)
    body = json.loads(connection.execute(ledger.entries.select()).one().body)
    assert (body["unit"], body["relation"]) == ("data subject", "add or remove one")


def test_the_golden_chain_still_reads(connection):
    told = json.loads((ROOT / "tests" / "golden" / "ledger.json").read_text(encoding="utf-8"))
    for place, entry in enumerate(told, start=1):
        body = json.loads(entry["body"])
        connection.execute(
            ledger.entries.insert().values(
                sequence=place, controller=body["controller"], population=body["population"], run=body["run"],
                kind=body["charge"]["kind"], releases=body["charge"]["count"], body=entry["body"].encode(),
                hash=bytes.fromhex(entry["hash"]),
            )
        )  # fmt: skip
    read = list(ledger.read(connection))
    assert [each.charge.kind for each in read] == ["count", "training"]
    assert ledger.head(connection) == (2, bytes.fromhex(told[-1]["hash"]))


def filled(connection):
    reserve(connection, 1, [HALF, one(20.0, "count")])
    reserve(connection, 2, [one()], controller="mall", population="holdout")
    for asked in (one(20.0, "count"), one(), one()):
        charge(connection, 1, asked)
    charge(connection, 2, one(), population="holdout")


def flipped(value, place):
    if isinstance(value, int):
        return value ^ (1 << place % 16)
    content = bytearray(value if isinstance(value, bytes) else value.encode())
    content[place % len(content)] ^= 1 << place % 7
    return bytes(content) if isinstance(value, bytes) else content.decode()


@pytest.mark.parametrize("column", list(ledger.entries.columns), ids=lambda column: column.name)
@given(row=st.integers(1, 4), place=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_flipped_bit_of_any_column_is_found(column, row, place):
    engine = fresh()
    here = ledger.entries.c.sequence == row
    with engine.begin() as connection:
        filled(connection)
        value = connection.execute(select(column).where(here)).scalar_one()
        change = ledger.entries.update().prefix_with("OR REPLACE").where(here)
        connection.execute(change.values({column.name: flipped(value, place)}))
        with pytest.raises(LedgerBroken):
            list(ledger.read(connection))
    engine.dispose()


@pytest.mark.parametrize("row", [1, 2, 3])
def test_an_entry_taken_from_before_the_head_is_missed(connection, row):
    filled(connection)
    connection.execute(text("DELETE FROM ledger_entry WHERE sequence = :row"), {"row": row})
    with pytest.raises(LedgerBroken):
        list(ledger.read(connection))


def test_two_entries_that_change_places_are_found(connection):
    filled(connection)
    for old, new in ((2, 9), (3, 2), (9, 3)):
        statement = text("UPDATE ledger_entry SET sequence = :new WHERE sequence = :old")
        connection.execute(statement, {"old": old, "new": new})
    with pytest.raises(LedgerBroken, match="entry 2"):
        list(ledger.read(connection))


def test_a_broken_chain_stops_accounts_and_reservations(connection):
    filled(connection)
    connection.execute(text("UPDATE ledger_entry SET releases = 2 WHERE sequence = 1"))
    with pytest.raises(LedgerBroken):
        account(connection)
    with pytest.raises(LedgerBroken):
        reserve(connection, 3, [one()])


# Reserve, charge, close.


def test_only_what_was_reserved_can_be_charged(connection):
    with pytest.raises(RunClosed):
        charge(connection, 1)
    reserve(connection, 1, [one()])
    for other in (
        one(11.0),
        one(12.0, "evaluation"),
        Charge("training", 12.0, 0.5, 1),
        Charge("training", 12.0, 1.0, 2),
    ):
        with pytest.raises(BudgetExceeded):
            charge(connection, 1, other)
    for elsewhere in ({"population": "holdout"}, {"plan": OTHER}):
        with pytest.raises(RunClosed):
            charge(connection, 1, one(), **elsewhere)
    charge(connection, 1, one())
    with pytest.raises(BudgetExceeded):
        charge(connection, 1, one())
    assert len(list(ledger.read(connection))) == 1


def test_a_refused_reservation_records_nothing(connection):
    with pytest.raises(BudgetExceeded, match=r"epsilon \d+\.\d{3} needed, the limit is 3 per 365 days"):
        reserve(connection, 1, [one(0.5)])
    assert account(connection).reserved == 0.0
    with pytest.raises(RunClosed):
        charge(connection, 1, one(0.5))


def test_the_limit_itself_may_be_reached_and_not_passed(connection):
    cost = pld_epsilon([HALF], LIMIT.delta)
    with pytest.raises(BudgetExceeded):
        reserve(connection, 1, limit=Limit(cost * (1 - 1e-12), LIMIT.n_max))
    reserve(connection, 1, limit=Limit(cost, LIMIT.n_max))
    charge(connection, 1)
    found = account(connection, limit=Limit(cost, LIMIT.n_max))
    assert (found.spent.epsilon, found.left) == (cost, 0.0)


def test_asking_again_for_the_same_run_reserves_nothing_more(connection):
    reserve(connection, 1)
    before = account(connection)
    for charges in ([HALF], [HALF.times(2)], []):
        reserve(connection, 1, charges)
        assert account(connection) == before


@pytest.mark.parametrize("other", [{"controller": "mall"}, {"plan": OTHER}])
def test_a_run_stands_for_one_plan_of_one_controller(connection, other):
    reserve(connection, 1)
    before = account(connection), account(connection, controller="mall")
    with pytest.raises(RequestConflict):
        reserve(connection, 1, **other)
    assert (account(connection), account(connection, controller="mall")) == before


def test_a_charge_needs_an_open_reservation_of_its_plan(connection):
    asked = {"run": run_id(1), "plan": PLAN, "population": "train"}
    with pytest.raises(RunClosed):
        ledger.require_open(connection, **asked)
    reserve(connection, 1)
    assert ledger.require_open(connection, **asked).controller == "shop"
    for elsewhere in ({"plan": OTHER}, {"population": "holdout"}, {"run": run_id(2)}):
        with pytest.raises(RunClosed):
            ledger.require_open(connection, **asked | elsewhere)
    ledger.close(connection, run_id(1))
    with pytest.raises(RunClosed):
        ledger.require_open(connection, **asked)


def test_the_ledger_knows_the_hash_of_each_entry_and_of_the_empty_ledger(connection):
    assert ledger.has(connection, bytes(32))
    heads = []
    reserve(connection, 1)
    for _ in range(3):
        charge(connection, 1, one())
        heads.append(ledger.head(connection)[1])
    assert all(ledger.has(connection, head) for head in heads)
    connection.execute(text("DELETE FROM ledger_entry WHERE sequence = 3"))
    assert [ledger.has(connection, head) for head in heads] == [True, True, False]


def test_a_closed_run_frees_what_it_did_not_use_and_stays_closed(connection):
    reserve(connection, 1)
    charge(connection, 1, one())
    ledger.close(connection, run_id(1))
    assert (
        account(connection).reserved == account(connection).spent.epsilon == pld_epsilon([one()], LIMIT.delta)
    )
    for attempt in (lambda: charge(connection, 1, one()), lambda: reserve(connection, 1)):
        with pytest.raises(RunClosed):
            attempt()


def test_closing_the_others_leaves_one_run_open(connection):
    for run in (1, 2):
        reserve(connection, run, [one()])
    ledger.close_others(connection, run_id(2))
    charge(connection, 2, one())
    with pytest.raises(RunClosed):
        charge(connection, 1, one())


def test_a_second_plan_is_decided_by_the_filter(connection):
    reserve(connection, 1)
    charge(connection, 1)
    assert account(connection).spent.decided_by == "PLD"
    assert account(connection).spent.epsilon == pld_epsilon([HALF], LIMIT.delta)
    both = renyi_epsilon([HALF.times(2)], LIMIT.delta)
    assert both > pld_epsilon([HALF.times(2)], LIMIT.delta)
    with pytest.raises(BudgetExceeded):
        reserve(connection, 2, plan=OTHER, limit=Limit(both - 1e-9, LIMIT.n_max))
    reserve(connection, 2, plan=OTHER, limit=Limit(both, LIMIT.n_max))
    assert account(connection).reserved == both
    charge(connection, 2, plan=OTHER)
    assert account(connection).spent == ledger.Spent(both, "RDP filter")


def test_a_plan_that_runs_again_is_still_one_plan(connection):
    both = pld_epsilon([HALF.times(2)], LIMIT.delta)
    for run in (1, 2):
        reserve(connection, run)
        charge(connection, run)
        ledger.close(connection, run_id(run))
    assert account(connection).spent == ledger.Spent(both, "PLD")
    assert account(connection).lifetime == both


def test_a_run_of_several_releases_is_still_one_run(connection):
    reserve(connection, 1)
    for _ in range(HALF.count):
        charge(connection, 1, one())
    assert account(connection).spent == ledger.Spent(pld_epsilon([HALF], LIMIT.delta), "PLD")


def test_controllers_and_populations_have_accounts_of_their_own(connection):
    reserve(connection, 1)
    charge(connection, 1)
    spent = account(connection).spent
    for other in ({"controller": "mall"}, {"population": "holdout"}):
        assert account(connection, **other).spent.epsilon == 0.0
        assert account(connection, **other).left == LIMIT.epsilon
    reserve(connection, 2, controller="mall")
    reserve(connection, 3, population="holdout")
    assert account(connection).spent == spent
    assert account(connection).reserved == spent.epsilon
    assert [each.run for each in ledger.read(connection, controller="shop")] == [run_id(1)]
    assert list(ledger.read(connection, controller="mall")) == []


def test_forecast_is_what_a_reservation_is_judged_by(connection):
    reserve(connection, 1)
    asked = {"plan": PLAN, "controller": "shop", "population": "train", "charges": [HALF], "now": START}
    worst = ledger.forecast(connection, limit=LIMIT, **asked)
    with pytest.raises(BudgetExceeded):
        reserve(connection, 2, limit=Limit(worst - 1e-9, LIMIT.n_max))
    assert account(connection).reserved < worst
    reserve(connection, 2, limit=Limit(worst, LIMIT.n_max))
    assert account(connection).reserved == worst


# Time.


def test_old_entries_leave_the_period_but_never_the_lifetime(connection):
    reserve(connection, 1)
    charge(connection, 1)
    ledger.close(connection, run_id(1))
    spent = account(connection).spent.epsilon
    just_inside, outside = (
        START + timedelta(days=PERIOD_DAYS, seconds=-1),
        START + timedelta(days=PERIOD_DAYS),
    )
    assert account(connection, now=just_inside).spent.epsilon == spent
    later = account(connection, now=outside)
    assert (later.spent.epsilon, later.reserved, later.lifetime) == (0.0, 0.0, spent)
    assert later.since == START
    reserve(connection, 2, plan=OTHER, now=outside)
    charge(connection, 2, plan=OTHER, now=outside)
    assert account(connection, now=outside).spent.epsilon == spent
    assert account(connection, now=outside).lifetime == renyi_epsilon([HALF.times(2)], LIMIT.delta) > spent


def test_two_years_are_never_spent_in_two_days(connection):
    limit = Limit(1.5, LIMIT.n_max)
    eve, morning = datetime(2026, 12, 31, 23, tzinfo=UTC), datetime(2027, 1, 1, 1, tzinfo=UTC)
    reserve(connection, 1, limit=limit, now=eve)
    charge(connection, 1, now=eve)
    ledger.close(connection, run_id(1))
    with pytest.raises(BudgetExceeded):
        reserve(connection, 2, limit=limit, now=morning)
    reserve(connection, 2, limit=limit, now=eve + timedelta(days=PERIOD_DAYS))


def test_an_open_reservation_counts_however_old_it_is(connection):
    reserve(connection, 1)
    later = START + timedelta(days=3 * PERIOD_DAYS)
    assert account(connection, now=later).reserved == pld_epsilon([HALF], LIMIT.delta)


def test_a_clock_that_goes_back_frees_nothing(connection):
    reserve(connection, 1)
    charge(connection, 1)
    earlier = START - timedelta(days=1000)
    assert account(connection, now=earlier).spent == account(connection).spent


# Crashes.

CHARGE_FOR_EVER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from foundation.database import open_database
from privacy import ledger
from privacy.events import Charge
engine = open_database(Path(sys.argv[1]))
while True:
    with engine.begin() as connection:
        entry = ledger.charge(connection, run=sys.argv[2], plan="ab" * 32, population="train",
                              request="cd" * 32, charge=Charge("training", 900.0, 1.0, 1),
                              now=datetime.now(UTC))
    print(entry.sequence, flush=True)
"""


def test_a_killed_process_loses_no_charge_that_it_told(tmp_path):
    path = tmp_path / "region.db"
    engine = fresh(path)
    with engine.begin() as connection:
        reserve(connection, 1, [Charge("training", 900.0, 1.0, 100_000)])
    command = [sys.executable, "-c", CHARGE_FOR_EVER, str(path), run_id(1)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as charging:
        assert charging.stdout is not None
        told = [int(charging.stdout.readline()) for _ in range(20)]
        charging.send_signal(signal.SIGKILL)
        told += [int(line) for line in charging.stdout.read().split("\n")[:-1]]
    with engine.begin() as connection:
        recorded = [entry.sequence for entry in ledger.read(connection)]
        assert recorded[: len(told)] == told
        assert len(recorded) - len(told) in (0, 1)
        charge(connection, 1, Charge("training", 900.0, 1.0, 1))
    engine.dispose()


NOISES = (8.0, 12.0, 30.0)
WHOSE = [("shop", "train"), ("shop", "holdout"), ("mall", "train")]


class LedgerRules(RuleBasedStateMachine):
    """Runs come and go in any order, crashes included; the account is never above its limit."""

    @initialize()
    def start(self):
        """Opens an empty ledger."""
        self.engine = fresh()
        self.now, self.runs, self.limit = START, 0, Limit(2.0, 100_000)
        self.reserved = {}
        self.recorded = []

    def teardown(self):
        """Closes it."""
        if hasattr(self, "engine"):
            self.engine.dispose()

    @rule(
        whose=st.sampled_from(WHOSE),
        noise=st.sampled_from(NOISES),
        count=st.integers(1, 8),
        again=st.booleans(),
    )
    def reserve(self, whose, noise, count, again):
        """A run asks for its worst case, once or again."""
        number = max(self.runs, 1) if again else self.runs + 1
        self.runs = max(self.runs, number)
        controller, population = whose
        if self.reserved.get((number, population), (controller,))[0] != controller:
            return
        asked = [Charge("training", noise, 1.0, count), Charge("count", 30.0, 1.0, 1)]
        with (
            self.engine.begin() as connection,
            contextlib.suppress(BudgetExceeded, RequestConflict, RunClosed),
        ):
            reserve(
                connection,
                number,
                asked,
                controller=controller,
                population=population,
                limit=self.limit,
                now=self.now,
            )
            self.reserved.setdefault((number, population), (controller, noise))

    @precondition(lambda self: self.reserved)
    @rule(data=st.data(), count=st.integers(1, 5), crash=st.booleans())
    def charge(self, data, count, crash):
        """A run charges; a crash takes the transaction back."""
        (number, population), (_, noise) = data.draw(st.sampled_from(sorted(self.reserved.items())))
        asked = Charge("training", noise, 1.0, count)
        with (
            contextlib.suppress(BudgetExceeded, RunClosed, InterruptedError),
            self.engine.begin() as connection,
        ):
            entry = charge(connection, number, asked, population=population, now=self.now)
            if crash:
                raise InterruptedError
            self.recorded.append(entry)

    @rule(number=st.integers(1, 6), others=st.booleans())
    def close(self, number, others):
        """A run ends, or all others do."""
        with self.engine.begin() as connection:
            (ledger.close_others if others else ledger.close)(connection, run_id(number))

    @rule(days=st.integers(1, 200))
    def time_passes(self, days):
        """Days go by."""
        self.now += timedelta(days=days)

    @invariant()
    def what_was_recorded_stays_and_the_chain_holds(self):
        """Entries are those that were committed, in order."""
        with self.engine.begin() as connection:
            assert list(ledger.read(connection)) == self.recorded
            assert ledger.head(connection)[0] == len(self.recorded)

    @invariant()
    def spent_is_within_reserved_is_within_the_limit(self):
        """No account is above its limit."""
        with self.engine.begin() as connection:
            for controller, population in WHOSE:
                found = account(
                    connection, controller=controller, population=population, limit=self.limit, now=self.now
                )
                assert found.spent.epsilon <= found.reserved <= self.limit.epsilon
                assert found.spent.epsilon <= found.lifetime
                assert found.left == self.limit.epsilon - found.reserved

    @invariant()
    def no_window_of_a_year_ever_holds_more_than_the_limit(self):
        """The rolling promise, computed from the entries alone."""
        for controller, population in WHOSE:
            mine = [e for e in self.recorded if (e.controller, e.population) == (controller, population)]
            for last in mine[-1:]:
                window = [
                    e.charge for e in mine if e.recorded_at > last.recorded_at - timedelta(days=PERIOD_DAYS)
                ]
                assert pld_epsilon(window, self.limit.delta) <= self.limit.epsilon


TestLedgerRules = LedgerRules.TestCase
TestLedgerRules.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_a_clock_that_goes_back_while_charging_is_not_believed(connection):
    reserve(connection, 1, [HALF.times(4)])
    first = charge(connection, 1, now=START)
    second = charge(connection, 1, now=START - timedelta(days=3000))
    assert second.recorded_at == first.recorded_at

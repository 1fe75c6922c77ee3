"""Everything that goes wrong in a federation, one at a time, through the command line.

Each fault ends with its own code and exit code; ledgers, logs and checkpoints hold afterwards, nothing of a
row is told, and a corrected rerun works. What is wrong with people's rows is told at home only, by `region
check`; a simulator, who owns all rows, is told the same and in which region. The centre's journal holds
FP-501 and no more.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest

from client.folder import open_folder
from compliance import audit_log
from console.cli import run
from privacy import ledger
from server import checkpoint, rounds
from simulations import regions, simulate
from simulations.federation import Fault

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")  # threads share the filters

MARKER = "leaked-4711"
"""In ids and in cells that are wrong: no output may hold it."""

EVENT_MANIFEST = """
region = "{region}"
controllers = ["example-shop"]
countries = ["DE"]
storage_country = "DE"
data = "synthetic"
currency = "EUR"
timezone = "UTC"

[sources.shop]
kind = "csv"
path = "{region}.csv"

[tables.orders]
shape = "events"
source = "shop"
event = "Order Completed"
subject = "customer"
time = "ordered_at"
value = "total"
country = "country"

[lawful_basis.retention]
kind = "legitimate_interests"
reference = "assessment-1"
"""

EVENT_TABLES = """
[tasks.stays]
kind = "event"
event = "Order Completed"
days = 90

[data]
shape = "events"
train_as_of = 2025-03-01
test_as_of = 2025-06-01
active_event = "Order Completed"
active_days = 365
currency = "EUR"

[inputs]
catalogue = ["days_since_last_order", "orders_all"]
"""


def edit(path, old, new):
    stated = path.read_text()
    assert old in stated
    path.write_text(stated.replace(old, new))


def orders_csv(region):
    """Three orders each of 300 people over two years, so that both labels occur at both dates."""
    generator = np.random.default_rng([*region.encode()])
    lines = ["customer,ordered_at,total,country"]
    for person in range(300):
        for day in np.sort(generator.integers(0, 600, 3)):
            when = np.datetime64("2024-03-01") + day
            lines.append(f"{region}-{MARKER}-{person},{when} 10:{day % 60:02d}:00,{20 + day % 90}.50,DE")
    return "\n".join(lines) + "\n"


@pytest.fixture
def subjects(small):
    """The small federation; all three regions are needed."""
    edit(small.plan_path, "quorum = 2", "quorum = 3")
    for region in ("eu", "sea", "us"):
        path = small.folder / f"{region}.csv"
        path.write_text(path.read_text().replace(f"{region}-", f"{region}-{MARKER}-"))
    return small


@pytest.fixture
def events(subjects):
    """The same federation over event tables."""
    stated = subjects.plan_path.read_text()
    head, tail = stated.split("[tasks.leaves]")[0], stated[stated.index("[normalisation]") :]
    subjects.plan_path.write_text(head + EVENT_TABLES + tail)
    for region in ("eu", "sea", "us"):
        subjects.manifest(region).write_text(EVENT_MANIFEST.format(region=region))
        (subjects.folder / f"{region}.csv").write_text(orders_csv(region))
    return subjects


@pytest.fixture
def told(capsys, monkeypatch):
    """Runs a command; returns exit code and JSON; nothing of a row may be in what it wrote."""
    monkeypatch.setattr(rounds, "CLOSE_SECONDS", 0.3)

    def command(*arguments):
        capsys.readouterr()
        code = run([*map(str, arguments), "--json"])
        written = capsys.readouterr()
        assert MARKER not in written.out + written.err
        return code, json.loads(written.out.splitlines()[-1])

    return command


def assert_consistent(out):
    """Every ledger chain, audit log, journal and checkpoint under out holds, and no secret is told."""
    for region in (out / "regions").iterdir():
        with open_folder(region) as folder, folder.engine.begin() as connection:
            list(ledger.read(connection))
            audit_log.verify(connection, "border")
            audit_log.verify(connection, "subject")
    for journal in out.glob("central/*/journal.json"):
        checkpoint.read(journal.parent)
        assert MARKER not in journal.read_text()


def missing_column(path):
    edit(path, "recency", "recent")


def wrong_type(path):
    edit(path, "-0,0.", f"-0,{MARKER}0.")


def one_class(path):
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *(row[:-1] + "1" for row in rows)]) + "\n")


def duplicate_subject(path):
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")


def cut_in_the_middle(path):
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b",", len(content) // 2)])


def empty(path):
    path.write_bytes(path.read_bytes().splitlines()[0] + b"\n")


ROW_FAULTS = [
    (missing_column, "FP-204"),
    (wrong_type, "FP-205"),
    (one_class, "FP-305"),
    (duplicate_subject, "FP-305"),
    (cut_in_the_middle, "FP-203"),
    (empty, "FP-205"),  # columns without a value have no type
]


def assert_refused_at_home(federation, told, out, code):
    """A fault of eu's rows has its code for the simulator and at home, and is FP-501 for the centre."""
    exit_code, error = told("simulate", federation.plan_path, "--out", out)
    assert (exit_code, error["error"]["code"]) == (int(code[3]), code)
    assert "region eu" in error["error"]["what"]
    journals = [checkpoint.read(path.parent)[0] for path in out.glob("central/*/journal.json")]
    assert [(journal.state, journal.reason) for journal in journals] == [("failed", "FP-501")]
    exit_code, found = told("region", "check", out / "regions" / "eu", federation.plan_path)
    assert exit_code == 3
    assert code in {problem["code"] for problem in found["problems"]}
    assert_consistent(out)
    return found


def assert_told_at_home_and_mended(federation, told, out, spoil, code):
    """The mended table runs in the same folder, on the same ledgers and reservations."""
    table = federation.folder / "eu.csv"
    whole = table.read_bytes()
    spoil(table)
    assert_refused_at_home(federation, told, out, code)
    table.write_bytes(whole)
    exit_code, found = told("region", "check", out / "regions" / "eu", federation.plan_path)
    assert (exit_code, found["problems"]) == (0, [])
    exit_code, result = told("simulate", "--resume", out)
    assert (exit_code, result.get("regions")) == (0, ["eu", "sea", "us"])
    assert_consistent(out)


@pytest.mark.parametrize(("spoil", "code"), ROW_FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_rows_of_people_that_cannot_be_used(subjects, told, tmp_path, spoil, code):
    assert_told_at_home_and_mended(subjects, told, tmp_path / "out", spoil, code)


def a_date_in_the_future(path):
    edit(path, "2024-03-0", "2124-03-0")


def an_unknown_country(path):
    lines = path.read_text().splitlines()
    lines[5] = lines[5].removesuffix("DE") + MARKER
    path.write_text("\n".join(lines) + "\n")


def money_that_is_text(path):
    edit(path, ".50,DE", f".5{MARKER},DE")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [(a_date_in_the_future, "FP-305"), (an_unknown_country, "FP-305"), (money_that_is_text, "FP-205")],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_rows_of_events_that_cannot_be_used(events, told, tmp_path, spoil, code):
    assert_told_at_home_and_mended(events, told, tmp_path / "out", spoil, code)


def test_naive_times_without_a_timezone(events, told, tmp_path):
    edit(events.manifest("eu"), 'timezone = "UTC"\n', "")
    out = tmp_path / "out"
    assert_refused_at_home(events, told, out, "FP-206")
    edit(events.manifest("eu"), 'currency = "EUR"\n', 'currency = "EUR"\ntimezone = "UTC"\n')
    assert told("simulate", events.plan_path, "--out", out)[1]["error"]["code"] == "FP-212"
    assert told("simulate", events.plan_path, "--out", tmp_path / "fresh")[0] == 0


def test_a_region_without_people(subjects, told, tmp_path):
    edit(subjects.manifest("eu"), 'by = "all"', 'by = "column"\ncolumn = "channel"\nvalues = ["fax"]')
    found = assert_refused_at_home(subjects, told, tmp_path / "out", "FP-305")
    assert found["gates"]["people.empty_region"] == [1, 0]


def test_a_parquet_file_cut_in_the_middle(subjects, told, tmp_path):
    table = subjects.folder / "eu.parquet"
    duckdb.sql(f"COPY (FROM '{subjects.folder / 'eu.csv'}') TO '{table}'")
    edit(subjects.manifest("eu"), 'kind = "csv"\npath = "eu.csv"', 'kind = "parquet"\npath = "eu.parquet"')
    whole, out = table.read_bytes(), tmp_path / "out"
    table.write_bytes(whole[: len(whole) // 2])
    assert_refused_at_home(subjects, told, out, "FP-203")
    table.write_bytes(whole)
    assert told("simulate", "--resume", out)[0] == 0
    assert_consistent(out)


def test_a_plan_whose_epsilon_is_spent(subjects, told, tmp_path):
    out = tmp_path / "out"
    assert told("simulate", subjects.plan_path, "--out", out)[0] == 0
    for _ in range(2):
        exit_code, error = told("simulate", subjects.plan_path, "--out", out)
        assert (exit_code, error["error"]["code"]) == (3, "FP-302")
    exit_code, found = told("region", "check", out / "regions" / "us", subjects.plan_path)
    assert (exit_code, [each["code"] for each in found["problems"]]) == (3, ["FP-302", "FP-302"])
    assert_consistent(out)
    edit(subjects.plan_path, "noise_multiplier = 6.0", "noise_multiplier = 600.0")
    edit(subjects.plan_path, "noise_multiplier = 1.6", "noise_multiplier = 160.0")
    edit(subjects.plan_path, "noise_multiplier = 8.0", "noise_multiplier = 800.0")
    assert told("simulate", subjects.plan_path, "--out", out)[0] == 0  # what is left is enough for this


def test_a_plan_that_a_region_has_not_approved(subjects, told, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(regions, "approve", lambda *_: None)
    exit_code, error = told("simulate", subjects.plan_path, "--out", out)
    assert (exit_code, error["error"]["code"]) == (3, "FP-301")
    assert_consistent(out)
    monkeypatch.undo()
    assert told("simulate", subjects.plan_path, "--out", out)[0] == 0


def test_two_regions_with_one_name(subjects, told, tmp_path):
    edit(subjects.plan_path, 'us = "us.toml"', 'us = "eu.toml"')
    exit_code, error = told("simulate", subjects.plan_path, "--out", tmp_path / "out")
    assert (exit_code, error["error"]["code"]) == (2, "FP-208")
    edit(subjects.plan_path, 'us = "eu.toml"', 'us = "us.toml"')
    assert told("simulate", subjects.plan_path, "--out", tmp_path / "out")[0] == 0


def test_one_row_claimed_by_two_regions(subjects, told, tmp_path):
    out = tmp_path / "out"
    edit(subjects.manifest("us"), '"us.csv"', '"eu.csv"')
    exit_code, error = told("simulate", subjects.plan_path, "--out", out)
    assert (exit_code, error["error"]["code"]) == (2, "FP-209")
    assert_consistent(out)


def test_a_region_that_never_answers(subjects, told, tmp_path, monkeypatch):
    out = tmp_path / "out"
    edit(subjects.plan_path, "hello_seconds = 20", "hello_seconds = 4")
    real, silent = simulate.federate, {"sea": Fault("lost")}
    monkeypatch.setattr(simulate, "federate", lambda *given, **_: real(*given, faults=silent))
    begun = time.monotonic()
    exit_code, error = told("simulate", subjects.plan_path, "--out", out)
    assert (exit_code, error["error"]["code"]) == (5, "FP-501")
    assert "missing sea" in error["error"]["what"]
    assert time.monotonic() - begun < 15
    assert_consistent(out)
    monkeypatch.undo()
    assert told("simulate", "--resume", out)[0] == 0
    assert_consistent(out)


def test_a_disk_that_is_full_at_a_checkpoint(subjects, told, tmp_path, monkeypatch):
    out, real = tmp_path / "out", Path.replace

    def full(self, target):
        if Path(target).name == "round-000002.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    exit_code, error = told("simulate", subjects.plan_path, "--out", out)
    assert (exit_code, error["error"]["code"]) == (5, "FP-503")
    assert_consistent(out)
    monkeypatch.setattr(Path, "replace", real)
    exit_code, result = told("simulate", "--resume", out)
    assert exit_code == 0
    assert_consistent(out)
    for populations in result["epsilon"].values():
        assert populations["train"]["spent"] < 2.5  # three rounds, not four


def test_two_processes_on_one_region_folder(subjects, told, tmp_path):
    out = tmp_path / "out"
    assert told("simulate", subjects.plan_path, "--out", out)[0] == 0
    hold = (
        "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('held', flush=True); input()"
    )
    lock = out / "regions" / "us" / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", hold, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        for command in (["simulate", subjects.plan_path, "--out", out], ["region", "budget", lock.parent]):
            exit_code, error = told(*command)
            assert (exit_code, error["error"]["code"]) == (2, "FP-210")
        other.communicate("\n")
    assert told("region", "budget", lock.parent)[0] == 0
    assert_consistent(out)

"""A region's passing fault in mid-run costs an attempt; the resumed run goes on."""

from __future__ import annotations

import pytest

import client.releases
from foundation.errors import FedprofileError
from privacy import ledger
from simulations.simulate import simulate


def test_a_passing_fault_in_mid_run_is_resumed_with_the_next_attempt(small, tmp_path, monkeypatch):
    text = small.plan_path.read_text().replace("quorum = 2", "quorum = 3\nspare_attempts = 1")
    small.plan_path.write_text(text)
    real, calls = client.releases.train, []

    def fails_once(plan, **given):
        calls.append(given["region"])
        if len(calls) == 4:
            raise MemoryError("SECRET-ROW")
        return real(plan, **given)

    monkeypatch.setattr(client.releases, "train", fails_once)

    def go(*, resume):
        return simulate(
            small.plan_path,
            tmp_path / "out",
            progress=lambda *_: None,
            then=lambda done: (done.finished.journal, _trained(done)),
            resume=resume,
        )

    with pytest.raises(FedprofileError) as fault:
        go(resume=False)
    assert "SECRET-ROW" not in str(fault.value)
    journal, trained = go(resume=True)
    assert journal.state == "finished"
    assert journal.attempts_spent == 1
    assert [record.attempt for record in journal.history if record.kind == "train"] == [0, 1, 0]
    assert all(count == 4 * small.plan.training.local_steps for count in trained.values())


def _trained(done):
    told = {}
    for name, region in done.regions.items():
        with region.folder.engine.begin() as connection:
            entries = ledger.read(connection)
            told[name] = sum(each.charge.count for each in entries if each.charge.kind == "training")
    return told

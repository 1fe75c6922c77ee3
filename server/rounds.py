"""A run, from hello to close: quorum, cohorts, attempts, checkpoints, and no endless wait.

1. hello to every node; wait for the plan's regions or the time limit; quorum or stop
2. analyse: summed histograms become the scale of inputs (round 0); checkpoint
3. train, rounds 1..R: sum of weighted changes, divided, applied; checkpoint each
4. evaluate once (round R + 1) under the average of the last models; checkpoint
5. close

A missing region ends an attempt; the next has a smaller cohort, new noise and a new charge. A resumed run
repeats the round after its checkpoint with the same bytes and gets the same answers. Never sees a person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation.errors import FedprofileError
from privacy.messages import to_bytes
from privacy.plan import Plan
from privacy.release import Analyse, Close, Evaluate, HistogramQuery, Receipt, Train
from profiles.normalisation import from_histograms
from server import checkpoint
from server.aggregation import averaged_change
from server.channel import Channel
from server.checkpoint import Journal, Values
from server.cohort import Cohort
from server.collecting import Collected, Collector

Progress = Callable[[str, int, int], None]
"""Called with what is going on, how much is done, and of how much."""

CLOSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run leaves: the served scale and parameters (float32), summed score histograms, the journal.

    Receipts are those that this process collected; a resumed run lacks those from before.
    """

    journal: Journal
    scale: NDArray[np.float32]
    parameters: NDArray[np.float32]
    counts: NDArray[np.float64]
    receipts: tuple[Receipt, ...]

    @property
    def evaluated(self) -> tuple[str, ...]:
        """Regions whose hold-out people are in the counts."""
        return self.journal.history[-1].cohort


@dataclass(slots=True)
class Run:
    """One run in one folder; goes on after the newest checkpoint there."""

    plan: Plan
    folder: Path
    channel: Channel
    progress: Progress
    journal: Journal
    values: Values

    def go(self, initial: NDArray[np.float32]) -> Finished:
        """Runs to the end and returns what it leaves; `initial` are public initial parameters.

        Raises:
            QuorumMissed, CheckpointFailed: the run can be resumed. AttemptsSpent: start a new run.
            PlanNotApproved, BudgetExceeded and other refusals: regions refused, too few are left.
        """

        def waiting(there: int, wanted: int) -> None:
            self.progress("waiting for regions", there, wanted)

        cohort = Cohort(self.plan, self.journal.run, self.channel, waiting)
        collector = Collector(
            self.plan,
            self.channel,
            cohort,
            self._note,
            attempt=self.journal.attempt,
            attempts_spent=self.journal.attempts_spent,
        )
        cohort.upstream = {name: dict(kinds) for name, kinds in self.journal.upstream.items()}
        if self.journal.round <= self.plan.training.rounds:
            try:
                cohort.gather()
                self._analyse(collector, initial)
                for number in range(self.journal.round + 1, self.plan.training.rounds + 1):
                    self._train(collector, number)
                self._evaluate(collector)
            except FedprofileError as error:
                self._fail(error)
                raise
        self._close(cohort)
        return Finished(
            self.journal,
            self.values["scale"].astype(np.float32),
            self._served(),
            self.values["counts"].astype(np.float64),
            tuple(collector.receipts),
        )

    def _analyse(self, collector: Collector, initial: NDArray[np.float32]) -> None:
        if self.journal.round >= 0:
            return
        self.progress("input scales", 0, 1)
        queries = (HistogramQuery(bins=self.plan.normalisation.bins),)

        def build(attempt: int, regions: tuple[str, ...]) -> Analyse:
            return Analyse(**self._address(0, attempt, regions), queries=queries)

        collected = collector.collect(build, b"")
        values: Values = {
            "scale": from_histograms(self.plan.normalisation.mode, collected.total),
            "parameters": initial,
            "tail": np.zeros(initial.size),
        }
        self._keep(collector, collected, values)

    def _train(self, collector: Collector, number: int) -> None:
        rounds = self.plan.training.rounds
        self.progress("training", number - 1, rounds)

        def build(attempt: int, regions: tuple[str, ...]) -> Train:
            return Train(**self._address(number, attempt, regions))

        before = self.values["parameters"]
        collected = collector.collect(build, self._blob(before))
        change = averaged_change(self.plan, collected.request.cohort, collected.total)
        after = (before + change).astype(np.float32)
        in_tail = number > rounds - self.plan.training.averaged_rounds
        tail = self.values["tail"] + (after if in_tail else 0)
        self._keep(
            collector,
            collected,
            {"scale": self.values["scale"], "parameters": after, "tail": tail},
            update_norm=float(np.linalg.norm(change)),
        )

    def _evaluate(self, collector: Collector) -> None:
        number = self.plan.training.rounds + 1
        self.progress("evaluating", 0, 1)

        def build(attempt: int, regions: tuple[str, ...]) -> Evaluate:
            return Evaluate(**self._address(number, attempt, regions))

        collected = collector.collect(build, self._blob(self._served()))
        self._keep(collector, collected, {**self.values, "counts": collected.total})

    def _served(self) -> NDArray[np.float32]:
        return (self.values["tail"] / self.plan.training.averaged_rounds).astype(np.float32)

    def _blob(self, parameters: NDArray[np.floating]) -> bytes:
        return b"".join(part.astype("<f4").tobytes() for part in (self.values["scale"], parameters))

    def _address(self, number: int, attempt: int, regions: tuple[str, ...]) -> dict[str, object]:
        return {
            "run": self.journal.run,
            "plan": self.plan.digest,
            "round": number,
            "attempt": attempt,
            "cohort": regions,
        }

    def _keep(
        self, collector: Collector, collected: Collected, values: Values, update_norm: float | None = None
    ) -> None:
        record = collected.record.model_copy(update={"update_norm": update_norm})
        journal = self.journal.model_copy(
            update={
                "round": record.round,
                "attempt": 0,
                "attempts_spent": collector.attempts_spent,
                "history": (*self.journal.history, record),
                "upstream": collector.cohort.upstream,
            }
        )
        self.journal, self.values = checkpoint.write(self.folder, journal, values), values

    def _note(self, attempt: int, attempts_spent: int) -> None:
        update = {"attempt": attempt, "attempts_spent": attempts_spent}
        self.journal = self.journal.model_copy(update=update)
        checkpoint.write_state(self.folder, self.journal)

    def _fail(self, error: FedprofileError) -> None:
        self.journal = self.journal.model_copy(update={"state": "failed", "reason": error.code})
        checkpoint.write_state(self.folder, self.journal)

    def _close(self, cohort: Cohort) -> None:
        close = to_bytes(Close(run=self.journal.run, plan=self.plan.digest, outcome="finished"))
        names = {member.node: name for name, member in cohort.members.items()}
        silent = {member.node for member in cohort.lost.values()}
        frames = {node: close for node in self.channel.nodes() if node not in silent}
        for node, reply in self.channel.ask(frames, CLOSE_SECONDS).items():
            if isinstance(reply, bytes) and node in names:
                cohort.count(names[node], "close", len(reply))
        self.journal = self.journal.model_copy(
            update={"state": "finished", "reason": None, "upstream": cohort.upstream}
        )
        checkpoint.write_state(self.folder, self.journal)
        self.progress("done", 1, 1)

"""The plan: everything that a run will do, fixed before the first message and approved by its digest.

The centre writes it, each region reads it in words and approves its digest once. Afterwards the centre
supplies values only (model weights, released edges); architecture, loss, features, bounds, weights,
sampling rate, steps and noise are these constants. Nothing here may be computed from people's data.
Does not hold what a region decides for itself (its policy, its sources): see `client/settings.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from foundation import canonical
from foundation.toml_file import Settings, load
from profiles.catalogue import CATALOGUE, Feature, Scale

PROTOCOL: Literal[1] = 1
"""Version of the border's messages; part of every digest."""

COUNT_NOISE = 20.0
"""Noise multiplier of the eligible count that a vault draws once per plan."""

FOLDS = 5
"""A simulation may hold out one of so many parts of a public hash."""

TRAIN, HOLDOUT = "train", "holdout"
"""The two populations of a region; each has a ledger limit of its own."""

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LEAST_NOISE = 0.2
"""Least noise multiplier: below, no epsilon is worth its name."""

Noise = Annotated[float, Field(ge=LEAST_NOISE, le=1e6)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
WholeDays = Annotated[int, Field(ge=1, le=3650)]


def _round_number(size: int) -> int:
    digits = len(str(size)) - 1
    if size % 10 ** max(0, digits - 1):
        raise ValueError("must be a round public number (two leading digits), never a count of rows")
    return size


PublicSize = Annotated[int, Field(ge=10), AfterValidator(_round_number)]


def _likely(name: str) -> str:
    close = get_close_matches(name, CATALOGUE, n=1)
    return f"{name} (did you mean {close[0]}?)" if close else name


def _by_name(tasks: dict[str, Any]) -> dict[str, Any]:
    """Heads, labels and blocks follow the tasks' order, so one digest must mean one order."""
    return dict(sorted(tasks.items()))


class NoEvent(Settings):
    """1 where the person has no such event in the window after `as_of` (churn)."""

    kind: Literal["no_event"]
    event: str
    days: WholeDays


class AnyEvent(Settings):
    """1 where the person has such an event in the window after `as_of` (repurchase)."""

    kind: Literal["event"]
    event: str
    days: WholeDays


class SumAtLeast(Settings):
    """1 where the value of such events in the window reaches a sum that the plan states."""

    kind: Literal["sum_at_least"]
    event: str
    days: WholeDays
    minimum: Positive


class ColumnIs(Settings):
    """1 where a label column of a subject table holds `value`."""

    kind: Literal["column"]
    column: str
    value: bool | int | str


Task = Annotated[NoEvent | AnyEvent | SumAtLeast | ColumnIs, Field(discriminator="kind")]


class EventData(Settings):
    """Rows are events; features look back from `as_of`, labels look ahead.

    Active people are those with `active_event` in the last `active_days` before `as_of`. Times are UTC
    midnights. Money is converted to `currency` by public rates (units of `currency` per unit).
    """

    shape: Literal["events"]
    train_as_of: date
    test_as_of: date
    active_event: str
    active_days: WholeDays
    currency: Currency
    exchange_rates: dict[Currency, Positive] = {}


class SubjectData(Settings):
    """One row per data subject, with ready features and label columns."""

    shape: Literal["subjects"]


class NumericColumn(Settings):
    """A numeric column of a subject table with public bounds."""

    kind: Literal["numeric"]
    name: str
    low: Finite
    high: Finite
    scale: Scale = "linear"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.scale == "log" and self.low < 0:
            raise ValueError("a log scale needs low >= 0")
        return self


class CategoryColumn(Settings):
    """A column with public values; each becomes a 0/1 input, anything else all zeros."""

    kind: Literal["category"]
    name: str
    values: Annotated[list[bool | int | str], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({(type(value), value) for value in self.values}) != len(self.values):
            raise ValueError("a value is named twice")
        return self


TableColumn = Annotated[NumericColumn | CategoryColumn, Field(discriminator="kind")]


class Inputs(Settings):
    """What a model sees: names from the catalogue (events) or columns (subjects)."""

    catalogue: list[str] = []
    columns: list[TableColumn] = []

    @model_validator(mode="after")
    def _known(self) -> Self:
        unknown = [name for name in self.catalogue if name not in CATALOGUE]
        if unknown:
            raise ValueError(f"not in the catalogue: {', '.join(map(_likely, unknown))}")
        names = self.catalogue + [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("a feature is named twice")
        if bool(self.catalogue) == bool(self.columns):
            raise ValueError("name features from the catalogue, or columns, not both and not neither")
        if self.columns and not any(isinstance(column, NumericColumn) for column in self.columns):
            raise ValueError("name at least one numeric column")
        constant = [name for name in self.catalogue if CATALOGUE[name].region_constant]
        if constant:
            raise ValueError(f"constant inside a region, not for a shared model: {', '.join(constant)}")
        return self


class Normalisation(Settings):
    """Histograms of every numeric input over public bins, released once, set the scale of inputs.

    quantile maps a value by the released cumulative histogram to [-1, 1]; standard subtracts the
    released mean and divides by the released deviation.
    """

    mode: Literal["quantile", "standard"]
    bins: Annotated[int, Field(ge=4, le=256)] = 16
    noise_multiplier: Noise


class Architecture(Settings):
    """logistic: one linear layer to a head per task; mlp: one tanh layer of `hidden` units before it."""

    kind: Literal["logistic", "mlp"] = "logistic"
    hidden: Annotated[int, Field(ge=1, le=512)] = 16


class Training(Settings):
    """DP-SGD inside each region (mode local), then the weighted model difference leaves.

    Each round takes `local_steps` Poisson-sampled steps of rate `sampling_rate`; gradients are clipped per
    data subject and divided by the public expected batch. The last `averaged_rounds` models are averaged.
    """

    mode: Literal["local"] = "local"
    rounds: Annotated[int, Field(ge=1, le=10_000)]
    local_steps: Annotated[int, Field(ge=1, le=10_000)]
    sampling_rate: Share
    noise_multiplier: Noise
    clipping_norm: Positive
    learning_rate: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    averaged_rounds: Annotated[int, Field(ge=1)] = 1
    norm_bound: Positive = 1_000.0

    @model_validator(mode="after")
    def _averaged(self) -> Self:
        if self.averaged_rounds > self.rounds:
            raise ValueError("averaged_rounds must not exceed rounds")
        return self


class Evaluation(Settings):
    """One final release: per task and label, a histogram of scores of hold-out people.

    Bins are equal in the logit of the score between -`logit_range` and +`logit_range` around
    `logit_centre` (public guesses); a region is told alone from `told_alone_at` hold-out people on. Without
    spare attempts a region that is lost at the very end is waited for by resuming the run.
    """

    noise_multiplier: Noise
    bins: Annotated[int, Field(ge=2, le=100)] = 10
    logit_range: Positive = 4.0
    logit_centre: Finite = 0.0
    told_alone_at: Annotated[int, Field(ge=1)] = 300
    spare_attempts: Annotated[int, Field(ge=0)] = 0


class Budget(Settings):
    """What the plan may spend per population in a region, spare attempts and retrainings included."""

    epsilon: Positive
    delta: Annotated[float, Field(gt=0, lt=0.01)]
    retrainings_per_period: Annotated[int, Field(ge=0, le=366)] = 0


class Federation(Settings):
    """Who must take part, and how long anything may take (seconds).

    `spare_attempts` are for the histograms and the rounds, in all; the evaluation has its own.
    """

    quorum: Annotated[int, Field(ge=2)] = 3
    minimum_subjects: Annotated[int, Field(ge=0)] = 100
    spare_attempts: Annotated[int, Field(ge=0)] = 1
    hello_seconds: Positive = 60.0
    round_seconds: Positive = 300.0
    slot_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class RegionShare(Settings):
    """A region's public size (active people, a round number) and weight in the average.

    A region that does not contribute receives the model and sends a zero vector: no people, no charge.
    """

    public_size: PublicSize
    weight: Annotated[float, Field(gt=0, le=1)]
    contributes: bool = True


class SyntheticWorld(Settings):
    """A synthetic world that `simulate` writes to `world/` in its folder first; people by region."""

    seed: Annotated[int, Field(ge=0)] = 1
    people: Annotated[dict[Slug, Annotated[int, Field(ge=1)]], Field(min_length=1)]


class Simulate(Settings):
    """For `fedprofile simulate` only, outside the digest: the regions' manifests, the fold, the world.

    With a world, relative paths in the manifests start at the simulation's folder. A region's policy is
    the file beside its manifest, NAME.policy.toml or policy.toml; without one, the default for the purpose.
    """

    regions: dict[Slug, str] = {}
    world: SyntheticWorld | None = None
    fold: Annotated[int, Field(ge=0, le=4)] | None = None


class Sealing(Settings):
    """Fixed-point grid: `units_per_sigma` steps per standard deviation, words of `word_bits`."""

    word_bits: Literal[64] = 64
    units_per_sigma: Annotated[int, Field(ge=16)] = 65_536


class Plan(Settings):
    """A whole plan; `digest` covers everything but `simulate`."""

    name: Slug
    purpose: Slug
    controller: Slug
    tasks: Annotated[dict[Slug, Task], Field(min_length=1), AfterValidator(_by_name)]
    data: Annotated[EventData | SubjectData, Field(discriminator="shape")]
    inputs: Inputs
    normalisation: Normalisation
    model: Architecture = Architecture()
    training: Training
    evaluation: Evaluation
    holdout_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    budget: Budget
    federation: Federation = Federation()
    sealing: Sealing = Sealing()
    regions: Annotated[dict[Slug, RegionShare], Field(min_length=2)]
    simulate: Simulate = Simulate()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        events = isinstance(self.data, EventData)
        told = [
            (
                events != bool(self.inputs.catalogue),
                "event data needs catalogue inputs, subject data columns",
            ),
            (
                any(isinstance(task, ColumnIs) == events for task in self.tasks.values()),
                "event data needs tasks over events, subject data tasks over columns",
            ),
            (
                self.federation.quorum > len(self.regions),
                f"quorum {self.federation.quorum} exceeds the {len(self.regions)} regions",
            ),
            (
                self.simulate.fold is not None and self.holdout_share != 1 / FOLDS,
                f"a fold holds out {1 / FOLDS:g}, holdout_share is {self.holdout_share:g}",
            ),
            (
                not any(share.contributes for share in self.regions.values()),
                "at least one region must contribute",
            ),
        ]
        if faults := [fault for holds, fault in told if holds]:
            raise ValueError("; ".join(faults))
        return self

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical form, 64 hex digits: settings, protocol and feature definitions."""
        settings = self.model_dump(exclude={"simulate"})
        definitions = [asdict(feature) for feature in self.features]
        return canonical.digest(
            canonical.decimals({"protocol": PROTOCOL, "plan": settings, "features": definitions})
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without the digest of the original."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("digest", None)
        return copied

    @property
    def features(self) -> tuple[Feature, ...]:
        """The catalogue entries that the inputs name, in order; empty for subject data."""
        return tuple(CATALOGUE[name] for name in self.inputs.catalogue)

    @property
    def numeric_inputs(self) -> int:
        """Inputs that are normalised by released histograms; they come first in a row."""
        columns = sum(isinstance(column, NumericColumn) for column in self.inputs.columns)
        return len(self.inputs.catalogue) + columns

    @property
    def category_inputs(self) -> int:
        """0/1 inputs, after the numeric ones."""
        return sum(len(each.values) for each in self.inputs.columns if isinstance(each, CategoryColumn))

    def training_size(self, region: str) -> float:
        """Public number of people whom a region trains on."""
        return self.regions[region].public_size * (1 - self.holdout_share)

    def holdout_size(self, region: str) -> float:
        """Public number of hold-out people of a region."""
        return self.regions[region].public_size * self.holdout_share

    @property
    def told_alone(self) -> tuple[str, ...]:
        """Regions with an evaluation block of their own, by public size; the others share one."""
        return tuple(
            name for name in sorted(self.regions) if self.holdout_size(name) >= self.evaluation.told_alone_at
        )

    @property
    def most_attempts(self) -> int:
        """Training attempts that the budget reserves."""
        return self.training.rounds + self.federation.spare_attempts


def read_plan(path: Path) -> Plan:
    """Returns the plan in a TOML file.

    Raises:
        SourceMissing, SettingsInvalid: see `foundation.toml_file.load`.
    """
    return load(path, Plan)


def midnight(day: date) -> datetime:
    """Returns the UTC midnight that begins day."""
    return datetime.combine(day, time(), tzinfo=UTC)

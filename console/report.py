"""The report of a run: one HTML page that opens with no network, no script and no other file.

Promises that every figure on the page comes from `result` or `details`, that every name is escaped, and
that a missing figure is shown as missing with its reason. Does not check or recompute any of them: the
ledgers and the logs prove, the page tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from console import charts
from foundation.files import write_atomically
from server.evaluation import LEVEL

READABLE_FILE = 0o644
MISSING = "—"
_TEMPLATES = Path(__file__).with_name("templates")
_NAMED_AT_MOST = 4
_CONVINCING_FACTOR = 1000.0
_SMALL_EPSILON = 0.095
_RARE = 1e-4
_SHORT, _LONG = 10, 120
"""Seconds below which a time is told in hundredths, and from which in minutes."""

POPULATIONS = {"train": "training people", "holdout": "hold-out people"}
"""Plain words for the two populations; another name is shown as it is."""

CURVES = (
    ("update_norm", "Size of the update", "How far one round moved the model."),
    ("share_clipped", "Share clipped", "Share of people cut to the clipping norm."),
    ("mean_norm", "Mean norm before clipping", "Mean size of the gradient of one person."),
    ("signal_to_noise", "Signal to noise", "What people taught, over the added noise."),
    ("loss", "Loss", "What training lowers. It should fall."),
)
"""Key, title and meaning of each figure per round."""


@dataclass(frozen=True, slots=True)
class TaskPart:
    """What the page shows of one task."""

    name: str
    words: str
    verdict: str
    plot: Markup
    bars: Markup | None
    reliability: Markup | None


@dataclass(frozen=True, slots=True)
class Curve:
    """One small chart of the training curve; `chart` is None where nothing was recorded."""

    title: str
    meaning: str
    chart: Markup | None


@dataclass(frozen=True, slots=True)
class Spending:
    """One population's entry of `result["epsilon"]`, and where it stands."""

    region: str
    population: str
    figures: dict[str, Any]
    decided_by: str


def write_report(path: Path, result: dict[str, Any], details: dict[str, Any]) -> None:
    """Writes the page to path, readable by all, so that a reader sees all of it or none.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    page = render(result, details).encode("utf-8", "replace")
    write_atomically(path, page, mode=READABLE_FILE)


def render(result: dict[str, Any], details: dict[str, Any]) -> str:
    """Returns the page; `result` is the JSON of `simulate`, `details` what the run knows beside it.

    Raises:
        KeyError, jinja2.UndefinedError: a part of either is absent altogether.
    """
    spendings = list(_spendings(result, details))
    return (
        _environment()
        .get_template("report.html")
        .render(
            result=result,
            details=details,
            opening=opening(result, details),
            tasks=[_task(name, result, details) for name in result["tasks"]],
            overview=_overview(result, details),
            curves=[_curve(key, title, meaning, details["curve"]) for key, title, meaning in CURVES],
            spendings=spendings,
            in_two_regions=_in_two_regions(spendings),
            budget_chart=_budget_chart(spendings) if spendings else None,
            suppositions=list(_keys_of(spending.figures["if"] for spending in spendings)),
            kinds=list(_keys_of(details["left"].values())),
            timeline=_timeline(details["stages"]) if details["stages"] else None,
        )
    )


def opening(result: dict[str, Any], details: dict[str, Any]) -> tuple[str, str, str]:
    """Returns three plain sentences: what was asked of whom, what came out, what it cost in privacy."""
    return _asked(result, details), _came_out(result), _cost(list(_spendings(result, details)))


def _asked(result: dict[str, Any], details: dict[str, Any]) -> str:
    plan = details["plan"]
    regions = result["regions"]
    named = f" ({_listed(regions)})" if len(regions) <= _NAMED_AT_MOST else ""
    silent = sum(not region["contributes"] for region in details["regions"].values())
    aside = f" {_counted(silent, 'region')} received the model without contributing to it." if silent else ""
    return (
        f"The controller {plan['controller']} asked {_counted(len(regions), 'region')}{named} to learn "
        f"together, for the purpose “{plan['purpose']}”, a model of {_listed(list(result['tasks']))}. "
        f"Nothing about people but noised sums left a region.{aside}"
    )


def _came_out(result: dict[str, Any]) -> str:
    found = "; ".join(f"for {name}, {_ranking(task)}" for name, task in result["tasks"].items())
    return (
        f"After {_counted(result['rounds'], 'round')}, given one person to whom it will happen and one "
        f"to whom it will not, the shared model tells which is which: {found}."
    )


def _ranking(task: dict[str, Any]) -> str:
    if task["auc"] is None:
        return "no figure could be told"
    told = f"AUC {auc(task['auc'])}, {LEVEL:.0%} interval {interval(task['ci'])}"
    return f"{task['auc'] * 100:.1f} times in 100 ({told})"


def _cost(spendings: Sequence[Spending]) -> str:
    if not spendings:
        return "No privacy budget was charged."
    most = max(spendings, key=lambda spending: spending.figures["spent"])
    spent, limit, delta = (most.figures[key] for key in ("spent", "limit", "delta"))
    whose = f"{most.region}, {POPULATIONS.get(most.population, most.population)}"
    return (
        f"In privacy it cost at most epsilon {epsilon(spent)} of the {epsilon(limit)} allowed ({whose}): "
        f"whoever sees all that was released can change their odds that a given person took part by a "
        f"factor of {odds(spent)} at most, save for a chance of {chance(delta)}. For a person in two regions "
        f"epsilon is {epsilon(_in_two_regions(spendings))}."
    )


def _in_two_regions(spendings: Sequence[Spending]) -> float | None:
    told = [entry.figures["if"].get("in_two_regions") for entry in spendings]
    return max((known for known in told if known is not None), default=None)


def auc(value: float | None) -> str:
    """Returns an AUC with three decimals."""
    return _number(value, lambda known: f"{known:.3f}")


def interval(pair: Sequence[float] | None) -> str:
    """Returns both ends of an interval."""
    return MISSING if pair is None else f"{auc(pair[0])} to {auc(pair[1])}"


def epsilon(value: float | None) -> str:
    """Returns an epsilon with two decimals, or two digits where it is small."""
    return _number(value, _two_decimals)


def odds(spent: float) -> str:
    """Returns e to the epsilon: how far the odds about one person may move."""
    factor = math.exp(min(spent, 700.0))
    return f"{factor:.1f}" if factor < _CONVINCING_FACTOR else f"{factor:.1e} (that is: no protection)"


def chance(probability: float) -> str:
    """Returns a probability as one in so many."""
    return f"1 in {figure(round(1 / probability, -3))}" if 0 < probability < _RARE else small(probability)


def small(value: float | None) -> str:
    """Returns a small probability such as 1e-6."""
    return _number(value, lambda known: f"{known:.3g}".replace("e-0", "e-"))


def figure(value: float | None) -> str:
    """Returns four digits of a plain number, whole numbers in full."""
    return _number(value, lambda known: f"{known:,.0f}" if known == int(known) else f"{known:,.4g}")


def seconds(value: float | None) -> str:
    """Returns a length of time."""
    return _number(value, _length_of_time)


def size(value: float | None) -> str:
    """Returns a number of bytes in the largest unit that leaves a digit before the point."""
    return _number(value, _in_bytes)


def _number(value: float | None, write: Callable[[float], str]) -> str:
    if value is None:
        return MISSING
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return write(value)


def _two_decimals(known: float) -> str:
    return f"{known:.2g}" if 0 < abs(known) < _SMALL_EPSILON else f"{known:.2f}"


def _length_of_time(length: float) -> str:
    if length < _SHORT:
        return f"{length:.2f} s"
    if length < _LONG:
        return f"{length:.1f} s"
    return f"{int(length // 60)} min {length % 60:.0f} s"


def _in_bytes(count: float) -> str:
    for unit, words in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.2f} {words}"
    return f"{count:.0f} B"


def _overview(result: dict[str, Any], details: dict[str, Any]) -> Markup | None:
    if len(result["tasks"]) == 1:
        return None
    rows = [_auc_row(name, task, simulation=details["simulation"]) for name, task in result["tasks"].items()]
    return _dot_plot(rows, details, "All tasks, all regions together")


def _task(name: str, result: dict[str, Any], details: dict[str, Any]) -> TaskPart:
    task, simulation = result["tasks"][name], details["simulation"]
    rows = [_auc_row("all regions", task, simulation=simulation, strong=True)]
    rows += [_auc_row(region, told, simulation=simulation) for region, told in task["by_region"].items()]
    bins = details["reliability"].get(name, [])
    return TaskPart(
        name=name,
        words=details["plan"]["tasks"].get(name, ""),
        verdict=_verdict(task),
        plot=_dot_plot(rows, details, f"{name}: AUC by region"),
        bars=_together_or_alone(name, task) if simulation and task["by_region"] else None,
        reliability=_reliability(name, bins) if bins else None,
    )


def _verdict(task: dict[str, Any]) -> str:
    return "No figure could be told." if task["auc"] is None else f"Told apart {_ranking(task)}."


def _dot_plot(rows: list[charts.IntervalRow], details: dict[str, Any], title: str) -> Markup:
    legend = {"dot": f"released, with {LEVEL:.0%} interval"}
    if details["simulation"]:
        legend["diamond"] = "exact (simulation only)"
    if any(shape == "triangle" and value is not None for row in rows for shape, value in row.marks):
        legend["triangle"] = "oracle (simulation only)"
    told = "; ".join(f"{row.label}: {row.figures}" for row in rows)
    return Markup(charts.interval_plot(rows, title=title, description=f"{told}.", legend=legend))  # noqa: S704 - charts escape


def _auc_row(
    label: str, told: dict[str, Any], *, simulation: bool, strong: bool = False
) -> charts.IntervalRow:
    marks = (("triangle", told.get("auc_oracle")), ("diamond", told.get("auc_exact"))) if simulation else ()
    figures = f"{auc(told['auc'])}  ({interval(told['ci'])})" if told["auc"] is not None else "not told"
    return charts.IntervalRow(
        label=label,
        value=told["auc"],
        interval=None if told["ci"] is None else (told["ci"][0], told["ci"][1]),
        figures=figures,
        marks=marks,
        note=told.get("why") or "",
        strong=strong,
    )


def _together_or_alone(name: str, task: dict[str, Any]) -> Markup:
    rows = [
        charts.PairRow(
            label=region,
            together=told.get("auc_exact"),
            alone=told.get("local_only_auc_exact"),
            figures=f"{auc(told.get('auc_exact'))} | {auc(told.get('local_only_auc_exact'))}",
        )
        for region, told in task["by_region"].items()
    ]
    told = "; ".join(f"{row.label}: together and alone {row.figures}" for row in rows)
    title = f"{name}: the shared model against one of each region's own"
    return Markup(charts.auc_bars(rows, title=title, description=f"{told}."))  # noqa: S704 - charts escape


def _reliability(name: str, bins: list[dict[str, float]]) -> Markup:
    points = [(entry["score"], entry["rate"], entry["count"]) for entry in bins]
    told = "; ".join(f"score {score:.3f}, happened {rate:.3f}" for score, rate, _ in points)
    title = f"{name}: what happened against what the model said"
    return Markup(charts.reliability_plot(points, title=title, description=f"{told}."))  # noqa: S704 - charts escape


def _curve(key: str, title: str, meaning: str, rounds: list[dict[str, Any]]) -> Curve:
    points = [(float(entry["round"]), entry[key]) for entry in rounds]
    known = [y for _, y in points if y is not None]
    if not known:
        return Curve(title, meaning, None)
    told = f"From {figure(known[0])} in the first round recorded to {figure(known[-1])} in the last."
    svg = charts.line_chart(points, title=f"{title} by round", description=told, across="round")
    return Curve(title, meaning, Markup(svg))  # noqa: S704 - charts escape


def _spendings(result: dict[str, Any], details: dict[str, Any]) -> Iterator[Spending]:
    for region, populations in result["epsilon"].items():
        deciders = details["epsilon_decided_by"].get(region, {})
        for population, figures in populations.items():
            yield Spending(region, population, figures, deciders.get(population, MISSING))


def _budget_chart(spendings: Sequence[Spending]) -> Markup:
    rows = [
        charts.BudgetRow(
            label=f"{entry.region} · {entry.population}",
            spent=entry.figures["spent"],
            reserved=entry.figures["reserved"],
            limit=entry.figures["limit"],
            lifetime=entry.figures["lifetime"],
            figures=f"{epsilon(entry.figures['spent'])} of {epsilon(entry.figures['limit'])}",
        )
        for entry in spendings
    ]
    told = "; ".join(f"{row.label}: {row.figures} spent" for row in rows)
    svg = charts.budget_bars(rows, title="Epsilon by region and population", description=f"{told}.")
    return Markup(svg)  # noqa: S704 - charts escape


def _timeline(stages: list[dict[str, Any]]) -> Markup:
    rows = [charts.StageRow(stage["name"], stage["seconds"], seconds(stage["seconds"])) for stage in stages]
    told = "; ".join(f"{row.label}: {row.figures}" for row in rows)
    return Markup(charts.stage_timeline(rows, title="Stages of the run", description=f"{told}."))  # noqa: S704 - charts escape


def _keys_of(mappings: Iterable[dict[str, Any]]) -> dict[str, None]:
    """Returns the keys of all mappings in the order in which they first appear."""
    return {key: None for mapping in mappings for key in mapping}


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for write in (auc, interval, epsilon, small, figure, seconds, size):
        environment.filters[write.__name__] = write
    environment.globals.update(populations=POPULATIONS, level=f"{LEVEL:.0%}", missing=MISSING)
    return environment

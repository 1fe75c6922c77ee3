"""Commands of the central team: plans, simulations, the registry of models."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from console.output import answer, progress_bar, say, table
from foundation.errors import FolderUnknown, SettingsInvalid, SourceMissing, UsageWrong

plan = typer.Typer(help="Write and check plans.", no_args_is_help=True)
app = typer.Typer(help="The central team's folder.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Last line of stdout is one JSON object.")]
PlanFile = Annotated[Path, typer.Argument(help="A plan in TOML.")]

MOST_EPSILON = 20.0
DEMO_PLAN = Path(__file__).resolve().parent.parent / "examples" / "synthetic" / "plan.toml"


@plan.command("check")
def check(path: PlanFile, *, as_json: Json = False) -> None:
    """Validate a plan and explain it in words."""
    from privacy.budget import period_cost
    from privacy.plan import HOLDOUT, TRAIN, read_plan
    from privacy.plan_words import plan_words

    stated = read_plan(path)
    words = plan_words(stated)
    for sentence in words:
        say(sentence)
    cost = {
        name: {each: period_cost(stated, each, name) for each in (TRAIN, HOLDOUT)} for name in stated.regions
    }
    worst = max(max(each.values()) for each in cost.values())
    say(f"Digest: {stated.digest}")
    if worst > stated.budget.epsilon:
        raise SettingsInvalid(
            f"{path}: epsilon {worst:.3f} exceeds the plan's own target {stated.budget.epsilon:g}",
            why="the noise multipliers are too small for the steps, attempts and retrainings",
            do=f"run `fedprofile plan calibrate {path} --write`",
        )
    answer({"plan": stated.name, "digest": stated.digest, "words": words, "epsilon": cost}, as_json=as_json)


@plan.command("calibrate")
def calibrate(
    path: PlanFile,
    *,
    epsilon: Annotated[float | None, typer.Option(help="Target; the plan's own where left out.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the noise multipliers into the plan.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the noise multipliers of training and evaluation for a target epsilon."""
    from console.plan_file import with_noise
    from foundation.files import write_atomically
    from privacy.budget import calibrated
    from privacy.plan import read_plan

    stated = read_plan(path)
    if epsilon is not None and not 0 < epsilon <= MOST_EPSILON:
        raise UsageWrong(f"--epsilon {epsilon:g}", why=f"a target is above 0 and at most {MOST_EPSILON:g}")
    try:
        done = calibrated(stated, epsilon=epsilon)
    except ValueError as error:
        raise SettingsInvalid(
            f"{path}", why=str(error), do="raise epsilon or the histograms' noise"
        ) from None
    found = {
        "training": done.training.noise_multiplier,
        "evaluation": done.evaluation.noise_multiplier,
    }
    for part, noise in found.items():
        say(f"[{part}] noise_multiplier = {noise:g}")
    if write:
        write_atomically(
            path, with_noise(path.read_text(encoding="utf-8"), found, epsilon).encode(), mode=0o644
        )
        say(f"Written to {path}.")
    answer({"epsilon": done.budget.epsilon, "delta": done.budget.delta, **found}, as_json=as_json)


def simulate(
    path: Annotated[
        Path | None, typer.Argument(metavar="PLAN", help="A plan with [simulate.regions].")
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="Folder of state; default runs/PLAN-TIME.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Run a whole federation in this process: region folders, ledgers, rounds, an HTML report."""
    if (path is None) == (resume is None):
        raise UsageWrong("simulate takes a plan, or --resume and a folder")
    if resume is not None and out is not None:
        raise UsageWrong("--resume names the folder", do="leave --out out")
    answer(_simulate(path, out, resume), as_json=as_json)


def demo(
    *,
    out: Annotated[Path | None, typer.Option(help="Folder of state; default runs/demo-TIME.")] = None,
    as_json: Json = False,
) -> None:
    """Run three synthetic regions end to end, and write an HTML report."""
    if not DEMO_PLAN.is_file():
        raise FolderUnknown(f"{DEMO_PLAN} is missing", do="run the demo from a checkout")
    answer(_simulate(DEMO_PLAN, out or _default_folder("demo"), None), as_json=as_json)


@app.command("models")
def models(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A central or simulation folder.")],
    *,
    as_json: Json = False,
) -> None:
    """List models: versions, lineage, metrics, state."""
    from server.models import records

    places = [place for place in (folder / "models", folder / "central" / "models") if place.is_dir()]
    if not places:
        raise FolderUnknown(f"{folder} holds no models")
    found = [record for place in places for record in records(place)]
    table(
        "models",
        ["model", "plan", "made", "origin", "state", "regions", "AUC"],
        [
            [
                each.name,
                f"{each.plan} {each.plan_digest[:8]}",
                each.made_at.isoformat(timespec="seconds"),
                each.origin,
                each.state,
                ", ".join(each.regions),
                ", ".join(f"{task} {_figure(told.auc)}" for task, told in each.tasks.items()),
            ]
            for each in found
        ],
    )
    answer({"models": [each.model_dump(mode="json") for each in found]}, as_json=as_json)


def _simulate(path: Path | None, out: Path | None, resume: Path | None) -> dict[str, Any]:
    with progress_bar() as progress:
        progress("loading torch and flower", 0, 1)
        from console.report import write_report
        from foundation.files import write_atomically
        from simulations.details import details_of
        from simulations.result import result_of
        from simulations.simulate import PLAN, Simulated
        from simulations.simulate import simulate as run

        def told(done: Simulated) -> dict[str, Any]:
            progress("figures and report", 0, 1)
            result = result_of(done)
            write_report(done.out / "report.html", result, details_of(done))
            write_atomically(done.out / "result.json", json.dumps(result, indent=1).encode(), mode=0o644)
            return result

        folder = resume or out or _default_folder(_name_of(path))
        plan_path = path if path is not None else folder / PLAN
        if resume is not None and not plan_path.is_file():
            raise FolderUnknown(f"{resume} holds no run to resume")
        if not plan_path.is_file():
            raise SourceMissing(f"plan {plan_path}", do="check the path")
        say(f"State: {folder}")
        result = run(plan_path, folder, progress=progress, then=told, resume=resume is not None)
    _tell(result)
    return result


def _name_of(path: Path | None) -> str:
    return "run" if path is None else f"{path.resolve().parent.name}-{path.stem}"


def _default_folder(name: str) -> Path:
    return Path("runs") / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"


def _tell(result: dict[str, Any]) -> None:
    table(
        "How good (AUC on held-out people)",
        ["task", "released", "95 % interval", "exact*", "oracle*"],
        [
            [
                task,
                _figure(told["auc"]),
                _interval(told["ci"]),
                _figure(told["auc_exact"]),
                _figure(told["auc_oracle"]),
            ]
            for task, told in result["tasks"].items()
        ],
    )
    table(
        "What it cost (epsilon per data subject, add or remove one)",
        ["region", "population", "spent", "limit", "delta", "in two regions"],
        [
            [
                name,
                population,
                f"{e['spent']:.3f}",
                f"{e['limit']:g}",
                f"{e['delta']:g}",
                f"{e['if']['in_two_regions']:.3f}",
            ]
            for name, populations in result["epsilon"].items()
            for population, e in populations.items()
        ],
    )
    say("* known to the simulator only; never leaves a real region")
    say(f"Report: {result['report']}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(value: list[float] | None) -> str:
    return "-" if value is None else f"{value[0]:.3f} to {value[1]:.3f}"

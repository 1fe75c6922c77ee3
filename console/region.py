"""Commands of a regional data team: the folder, checks, approvals, the budget, scores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.output import answer, say, table
from foundation.errors import SettingsInvalid, SourceMissing, UsageWrong

if TYPE_CHECKING:
    from client.check import Checked
    from client.eligible import EligibleSets
    from client.folder import RegionFolder

app = typer.Typer(help="A region's own folder: rows never leave it.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Last line of stdout is one JSON object.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The region's folder.")]
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="A plan in TOML.")]


@app.command("init")
def init(
    folder: Folder,
    *,
    region: Annotated[str, typer.Option(help="The region's name in the federation.")],
    manifest: Annotated[Path | None, typer.Option(help="A manifest to start from.")] = None,
    policy: Annotated[Path | None, typer.Option(help="A policy to start from.")] = None,
    as_json: Json = False,
) -> None:
    """Make a region folder: manifest, policy, keys, ledger."""
    from client.folder import make_folder
    from client.starting import starting_manifest, starting_policy

    stated = starting_manifest(region) if manifest is None else _text(manifest)
    accepted = starting_policy() if policy is None else _text(policy)
    _require_region(manifest, region)
    base = None if manifest is None else manifest.parent
    make_folder(folder, manifest=stated, policy=accepted, base=base)
    say(f"Region {region} in {folder}.")
    say(
        f"Next: describe your tables in {folder / 'region.toml'}, your limits in {folder / 'policy.toml'}, "
        f"then run `fedprofile region check {folder} PLAN`."
    )
    answer({"region": region, "folder": str(folder)}, as_json=as_json)


@app.command("check")
def check(
    folder: Folder,
    plan: Annotated[Path | None, typer.Argument(help="A plan; the newest approved one if left out.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Say everything that would be refused if the plan ran now, as counts."""
    from client.approval import newest_approved
    from client.check import check as look
    from privacy.plan import read_plan

    with _opened(folder) as (opened, people):
        asked = newest_approved(opened) if plan is None else read_plan(plan)
        found = look(opened, people, asked, _now())
    _tell_check(found)
    told = [{"code": each.code, "what": each.what, "do": each.do} for each in found.problems]
    result = {
        "region": found.region,
        "plan": found.plan,
        "active": found.active,
        "trained_on": found.trained_on,
        "held_out": found.held_out,
        "not_permitted": found.not_permitted,
        "least": found.least,
        "gates": {f"{g.table}.{g.name}": [g.violations, g.allowed] for g in found.gates},
        "cost": found.cost,
        "left": found.left,
        "problems": told,
    }
    answer(result, as_json=as_json)
    if found.problems:
        raise typer.Exit(3)


@app.command("approve")
def approve(
    folder: Folder,
    plan: PlanFile,
    *,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Withdraw the approval.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Show a plan in words with its cost here, and record its digest as approved."""
    from client import approval
    from client.check import budget_of
    from privacy.plan import read_plan
    from privacy.plan_words import plan_words

    asked = read_plan(plan)
    with _opened(folder) as (opened, _):
        for sentence in plan_words(asked):
            say(sentence)
        budget = budget_of(opened, asked, _now())
        for population, cost in budget.cost.items():
            left = budget.left[population]
            say(f"Here, {population} people: at worst epsilon {cost:.3f}; left now {left:.3f}.")
        word = "Withdraw the approval of" if withdraw else "Approve"
        if not yes:
            typer.confirm(f"{word} digest {asked.digest[:16]}?", abort=True, err=True)
        act = approval.withdraw if withdraw else approval.approve
        act(opened, asked, _now())
    say("Withdrawn." if withdraw else "Approved.")
    answer({"plan": asked.name, "digest": asked.digest, "approved": not withdraw}, as_json=as_json)


@app.command("budget")
def budget(
    folder: Folder,
    *,
    events: Annotated[bool, typer.Option("--events", help="Every ledger entry.")] = False,
    as_json: Json = False,
) -> None:
    """Show the ledger: spent, reserved, limit, per population, rolling period and lifetime."""
    from client.accounts import accounts, ledger_entries

    with _opened(folder) as (opened, _):
        told = accounts(opened, _now())
        entries = ledger_entries(opened) if events else []
    table(
        "budget (epsilon per data subject, add or remove one; rolling 365 days)",
        ["controller", "population", "spent", "by", "with reserved", "limit", "lifetime", "delta"],
        [
            [
                each["controller"],
                each["population"],
                f"{each['spent']:.3f}",
                each["decided_by"],
                f"{each['reserved']:.3f}",
                f"{each['limit']:g}",
                f"{each['lifetime']:.3f}",
                f"{each['delta']:g}",
            ]
            for each in told
        ],
    )
    if events:
        table(
            "ledger",
            ["#", "recorded", "population", "kind", "noise", "rate", "times", "run"],
            [
                [
                    str(each[key])
                    for key in (
                        "sequence",
                        "recorded_at",
                        "population",
                        "kind",
                        "noise_multiplier",
                        "sampling_rate",
                        "count",
                        "run",
                    )
                ]
                for each in entries
            ],
        )
    answer({"region": opened.region, "accounts": told, "events": entries}, as_json=as_json)


@app.command("refresh")
def refresh(
    folder: Folder,
    *,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Default: today; in a simulation's folder, the plan's test snapshot."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score every permitted person with the folder's latest model."""
    from client.profile_store import refresh as score

    with _opened(folder) as (opened, people):
        done = score(opened, people, now=_now(), as_of=None if as_of is None else as_of.date())
    marked = " (a simulation's model: for this folder only)" if done.origin == "simulation" else ""
    say(f"{done.people} people scored for {done.purpose}, as of {done.as_of.date()}.")
    say(f"Model {done.model}{marked}.")
    result = {
        "people": done.people,
        "tasks": list(done.tasks),
        "model": done.model,
        "purpose": done.purpose,
        "as_of": done.as_of.isoformat(),
        "origin": done.origin,
    }
    answer(result, as_json=as_json)


@app.command("profile")
def profile(
    folder: Folder,
    *,
    purpose: Annotated[str, typer.Option(help="The processing purpose that you act for.")],
    controller: Annotated[str | None, typer.Option(help="Needed where the region has several.")] = None,
    id_file: Annotated[
        Path | None, typer.Option(help="A file that holds the identifier; - for stdin.")
    ] = None,
    allow_stale: Annotated[
        bool, typer.Option("--allow-stale", help="Show scores past 72 h, marked.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one person's scores; the identifier comes from a prompt, stdin or a file."""
    from client.profile_store import profile as look

    subject = _identifier(id_file)
    with _opened(folder) as (opened, people):
        found = look(
            opened,
            people,
            subject,
            controller=_controller(opened, controller),
            purpose=purpose,
            now=_now(),
            allow_stale=allow_stale,
        )
    marks = [
        mark
        for mark, holds in (("stale", found.stale), ("simulation", found.origin == "simulation"))
        if holds
    ]
    table(
        f"profile for {found.purpose}, as of {found.as_of.date()}{', ' + ', '.join(marks) if marks else ''}",
        ["task", "score"],
        [[task, f"{score:.3f}"] for task, score in found.scores.items()],
    )
    result = {
        "purpose": found.purpose,
        "scores": found.scores,
        "model": found.model,
        "origin": found.origin,
        "as_of": found.as_of.isoformat(),
        "stale": found.stale,
    }
    answer(result, as_json=as_json)


@contextmanager
def _opened(folder: Path) -> Iterator[tuple[RegionFolder, EligibleSets]]:
    from client.eligible import EligibleSets
    from client.folder import open_folder
    from client.store import Store

    with open_folder(folder) as opened:
        store = Store(opened.manifest, base=opened.base)
        try:
            yield opened, EligibleSets(opened, store)
        finally:
            store.close()


def _tell_check(found: Checked) -> None:
    people = {
        "active people": found.active,
        "to train on": found.trained_on,
        "held out": found.held_out,
        "not permitted for the purpose": found.not_permitted,
        "needed to train on": found.least,
    }
    rows = [[name, _count(count)] for name, count in people.items()]
    table(f"region {found.region}, plan {found.plan}", ["", ""], rows)
    table(
        "gates (violations, allowed)",
        ["table", "gate", "found", "allowed", ""],
        [
            [gate.table, gate.name, str(gate.violations), str(gate.allowed), "ok" if gate.holds else "FAILS"]
            for gate in found.gates
        ],
    )
    for problem in found.problems:
        say(f"[{problem.code}] {problem.what}. {problem.do[:1].upper()}{problem.do[1:]}.")
    if not found.problems:
        say("Nothing would be refused.")


def _count(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"


def _identifier(id_file: Path | None) -> str:
    if id_file is not None and str(id_file) != "-":
        text = _text(id_file)
    elif id_file is not None or not sys.stdin.isatty():
        text = sys.stdin.read()
    else:
        text = str(typer.prompt("identifier", err=True, hide_input=True))
    if not text.strip():
        raise UsageWrong("no identifier was given", why="it is read from a prompt, stdin or --id-file")
    return text.strip()


def _controller(folder: RegionFolder, asked: str | None) -> str:
    known = folder.manifest.controllers
    if asked is None and len(known) == 1:
        return known[0]
    if asked not in known:
        raise UsageWrong(
            "the controller", why=f"it is one of {', '.join(known)}", do="name it with --controller"
        )
    return asked


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        raise SourceMissing(f"file {path}") from None
    except UnicodeDecodeError:
        raise SettingsInvalid(f"file {path}", why="it is not UTF-8") from None


def _require_region(manifest: Path | None, region: str) -> None:
    if manifest is None:
        return
    from client.manifest import read_manifest

    stated = read_manifest(manifest).region
    if stated != region:
        raise UsageWrong(f"the manifest is of region {stated}, not {region}")


def _now() -> datetime:
    return datetime.now(UTC)

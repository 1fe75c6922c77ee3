"""Writes the reference pages from the code, and the README's figures from the committed benchmarks.

.venv/bin/python docs/reference/build.py          # write
.venv/bin/python docs/reference/build.py --check  # exit 1 where a page is stale
"""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from pathlib import Path
from typing import Any

import click
import typer.main
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from client.manifest import Manifest
from client.settings import Policy
from console.cli import app
from foundation.errors import FedprofileError
from privacy.plan import Plan
from profiles.catalogue import CATALOGUE

HERE = Path(__file__).resolve().parent
README = HERE.parent.parent / "README.md"
RESULTS = HERE.parent.parent / "benchmarks" / "results"
BEGIN, END = "<!-- utility: made by docs/reference/build.py -->", "<!-- /utility -->"
SLUG = "^[a-z0-9][a-z0-9_-]{0,62}$"
HEAD = "<!-- Made by docs/reference/build.py; do not edit. -->\n\n"


_ERRORS = """# Errors

Every error has a stable code; its first digit is the exit code: 1 fault, 2 settings or usage, 3 refused by
policy, 4 a proof failed, 5 a round failed. Messages say what, why and what to do, and never quote a value
from a row. Only FP-301, 302, 306, 307, 308, 309, 313 and 315 are ever told to the centre; whatever depends
on data is `unavailable` there.

| code | exit | name | when | what to do |
|---|---|---|---|---|
"""


def settings_page(title: str, intro: str, model: type[BaseModel]) -> str:
    """Returns a page with one table per model that is reachable from model."""
    parts = [f"# {title}\n", intro]
    for each in _reachable(model):
        parts += [f"\n## {each.__name__}\n", _doc(each), "", *_fields(each)]
    return HEAD + "\n".join(parts).rstrip() + "\n"


def errors_page() -> str:
    """Returns the table of all errors."""
    rows = [
        f"| `{each.code}` | {each.code[3]} | {each.__name__} | {_doc(each)} | {each.do} |"
        for each in sorted((FedprofileError, *FedprofileError.__subclasses__()), key=lambda each: each.code)
    ]
    faults = [f"| {what} | {code} | `{test}` |" for what, code, test in BAD_INPUT]
    return HEAD + _ERRORS + "\n".join(rows) + "\n" + _BAD_INPUT + "\n".join(faults) + "\n"


_BAD_INPUT = """
## Bad input, and faults

What the owner of the folder or the simulation is told; the centre of a deployed federation sees `unavailable`
for whatever depends on a region's tables. Each leaves ledger, checkpoints and journal consistent: the tests
are in `tests/end_to_end/test_faults.py`.

| what | code | test |
|---|---|---|
"""

BAD_INPUT = (
    ("a manifest names a column that is missing", "FP-204", "test_rows_of_people_that_cannot_be_used"),
    ("a column of the wrong type", "FP-205", "test_rows_of_people_that_cannot_be_used"),
    ("times without a zone, and no `timezone`", "FP-206", "test_naive_times_without_a_timezone"),
    ("rows of an unknown country", "FP-305", "test_rows_of_events_that_cannot_be_used"),
    ("a region without people", "FP-305", "test_a_region_without_people"),
    ("labels of one class only", "FP-305", "test_rows_of_people_that_cannot_be_used"),
    ("one subject twice", "FP-305", "test_rows_of_people_that_cannot_be_used"),
    ("dates in the future", "FP-305", "test_rows_of_events_that_cannot_be_used"),
    ("a file cut in the middle", "FP-203", "test_a_parquet_file_cut_in_the_middle"),
    ("a plan whose epsilon is spent", "FP-302", "test_a_plan_whose_epsilon_is_spent"),
    ("a plan that a region has not approved", "FP-301", "test_a_plan_that_a_region_has_not_approved"),
    ("two regions with one name", "FP-208", "test_two_regions_with_one_name"),
    ("one row claimed by two regions' rules", "FP-209", "test_one_row_claimed_by_two_regions"),
    ("a region that never answers", "FP-501", "test_a_region_that_never_answers"),
    ("a disk that is full at a checkpoint", "FP-503", "test_a_disk_that_is_full_at_a_checkpoint"),
    ("two processes on one region folder", "FP-210", "test_two_processes_on_one_region_folder"),
)


def catalogue_page() -> str:
    """Returns the table of all event features."""
    rows = [
        f"| `{each.name}` | {each.definition} | {each.low:g} | {each.high:g} | {each.scale} |"
        for each in CATALOGUE.values()
    ]
    return HEAD + _CATALOGUE + "\n".join(rows) + "\n"


_CATALOGUE = """# Catalogue

Features over events, by the names that a plan's `[inputs] catalogue` takes. Values outside the public bounds
are clamped; log means log(1 + value) before anything else. Money is in the plan's currency.

| name | what | low | high | scale |
|---|---|---|---|---|
"""


def commands_page() -> str:
    """Returns every command with its arguments and options."""
    parts = ["# Commands\n", "Every command takes `--help`; exit codes are in [errors](errors.md).\n"]
    parts += list(_commands(typer.main.get_command(app), ["fedprofile"]))
    return HEAD + "\n".join(parts).rstrip() + "\n"


def _commands(command: Any, path: list[str]) -> typing.Iterator[str]:
    children = getattr(command, "commands", None)
    if children is not None:
        for name in children:
            yield from _commands(children[name], [*path, name])
        return
    arguments = " ".join(p.make_metavar(click.Context(command)) for p in command.params if _is_argument(p))
    yield f"## {' '.join(path)} {arguments}\n".replace(" \n", "\n")
    yield f"{command.help}\n"
    options = [p for p in command.params if not _is_argument(p)]
    if options:
        yield "| option | what |\n|---|---|"
        yield from (f"| `{', '.join(p.opts)}` | {(p.help or '').replace('|', '/')} |" for p in options)
        yield ""


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _reachable(model: type[BaseModel]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    waiting = [model]
    while waiting:
        each = waiting.pop(0)
        if each in found:
            continue
        found.append(each)
        for name in each.model_fields:
            waiting += _models_in(typing.get_type_hints(each, include_extras=True)[name])
    return found


def _models_in(hint: Any) -> list[type[BaseModel]]:
    if inspect.isclass(hint) and not typing.get_args(hint) and issubclass(hint, BaseModel):
        return [hint]
    return [model for each in typing.get_args(hint) for model in _models_in(each)]


def _fields(model: type[BaseModel]) -> list[str]:
    hints = typing.get_type_hints(model, include_extras=True)
    lines = ["| field | type | default |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if field.default_factory is not None:
            default = "made"
        else:
            default = "required" if field.default is PydanticUndefined else f"`{_default(field.default)}`"
        lines.append(f"| `{name}` | {_type(hints[name])} | {default} |")
    return lines


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return f"[{type(value).__name__}]"
    return str(value)


def _type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        limits = "".join(_limits(each) for each in arguments[1:])
        limits = limits.replace(f" (matches `{SLUG}`)", " (lower-case letters, digits, - and _)")
        return _type(arguments[0]) + limits
    if origin is typing.Literal:
        return " or ".join(f"`{each}`" for each in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(each) for each in arguments)
    if origin in (list, tuple, dict, frozenset):
        inner = ", ".join(_type(each) for each in arguments if each is not Ellipsis)
        return f"{origin.__name__} of {inner}"
    return getattr(hint, "__name__", str(hint)).replace("NoneType", "none")


def _limits(metadata: Any) -> str:
    told = []
    for part in (metadata, *getattr(metadata, "metadata", ())):
        for key, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("pattern", "matches")):
            value = getattr(part, key, None)
            if value is not None:
                told.append(f"{sign} `{value}`")
    return f" ({', '.join(dict.fromkeys(told))})" if told else ""


def _doc(each: type) -> str:
    return " ".join((inspect.getdoc(each) or "").split())


def readme() -> str:
    """Returns the README with its table of figures made anew."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{_utility()}\n{END}{rest.partition(END)[2]}"


def _utility() -> str:
    found = json.loads((RESULTS / "utility.json").read_text(encoding="utf-8"))
    lines = [
        "| task | fedprofile | logistic regression | boosted trees | central DP |",
        "|---|---|---|---|---|",
    ]
    for what in dict.fromkeys(row["what"] for row in found["rows"] if row["what"].endswith(": AUC")):
        rows = {row["against"]: row for row in found["rows"] if row["what"] == what}
        others = [rows[name]["theirs"] for name in _OTHERS]
        ours = rows[_OTHERS[0]]["ours"]
        cells = [f"**{ours:.3f}**", *(f"{each:.3f}" for each in others)]
        lines.append(f"| {what.removesuffix(': AUC')} | {' | '.join(cells)} |")
    return "\n".join(lines)


_OTHERS = ("logistic regression, no privacy", "gradient boosting, no privacy", "central DP, same epsilon")


def pages() -> dict[Path, str]:
    """Returns every page by its file."""
    made = {
        "plan.md": settings_page(
            "Plan",
            "TOML, written by the centre, approved by each region by its digest over the canonical form. "
            "`[simulate]` is\noutside the digest. Examples: `examples/*/plan*.toml`.",
            Plan,
        ),
        "manifest.md": settings_page(
            "Manifest",
            "TOML, written by the region: its tables, its people, its lawful bases. Examples: `examples/*/`.",
            Manifest,
        ),
        "policy.md": settings_page(
            "Policy", "TOML, written by the region: what it accepts. The centre cannot change it.", Policy
        ),
        "catalogue.md": catalogue_page(),
        "errors.md": errors_page(),
        "commands.md": commands_page(),
    }
    return {HERE / name: text for name, text in made.items()} | {README: readme()}


def main() -> int:
    """Writes the pages, or checks them."""
    stale = 0
    for path, text in pages().items():
        if "--check" in sys.argv[1:]:
            stale += not path.is_file() or path.read_text(encoding="utf-8") != text
        else:
            path.write_text(text, encoding="utf-8")
    return int(stale > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Reference pages are those that the code makes, and the README's commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer.main

from console.cli import app

ROOT = Path(__file__).resolve().parents[2]


def test_reference_pages_are_not_stale():
    script = ROOT / "docs/reference/build.py"
    done = subprocess.run([sys.executable, script, "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run docs/reference/build.py"


def documents():
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = [each.split("#")[0] for each in re.findall(r"\]\(([^)]+)\)", text)]
    local = [each for each in targets if each and not each.startswith("https:")]
    assert [each for each in local if not (page.parent / each).exists()] == []


def command_lines():
    text = "\n".join(page.read_text(encoding="utf-8") for page in documents())
    return sorted(set(re.findall(r"^fedprofile [^#\n]*", text, re.MULTILINE)))


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_in_the_documents_names_a_command_and_its_options(line):
    command, context = typer.main.get_command(app), click.Context(click.Command("fedprofile"))
    words = line.split()[1:]
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.get_params(context) for option in parameter.opts}
    assert [word for word in words if word.startswith("--") and word not in known] == []


def test_every_log_entry_type_in_the_code_is_in_the_reference():
    rooms = ("client", "compliance", "privacy", "server", "simulations", "console")
    code = "\n".join(path.read_text() for room in rooms for path in (ROOT / room).rglob("*.py"))
    page = (ROOT / "docs/reference/log-entries.md").read_text(encoding="utf-8")
    written = set(re.findall(r'"type": "([a-z_]+)"', code))
    assert written == set(re.findall(r"^\| `([a-z_]+)`", page, re.MULTILINE))


def test_every_bad_input_of_the_reference_has_its_test():
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    tests = (ROOT / "tests/end_to_end/test_faults.py").read_text(encoding="utf-8")
    assert len(named) > 0
    assert named <= set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))

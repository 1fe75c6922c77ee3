"""What every command says and how it ends: people read stderr, scripts read the last line of stdout.

Exit codes are those of `foundation/errors.py`. An unexpected fault shows where, never a value.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from foundation.errors import FedprofileError

UNKNOWN_WIDTH = 120
"""Columns where stderr is no terminal."""

screen = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else UNKNOWN_WIDTH)


def say(text: str) -> None:
    """Writes a line for people."""
    screen.print(text, markup=False, soft_wrap=True)


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Writes a table for people."""
    drawn = Table(title=title, title_justify="left", show_edge=False)
    for column in columns:
        drawn.add_column(column, justify="left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    screen.print(drawn, markup=False)


def answer(value: dict[str, Any], *, as_json: bool) -> None:
    """Writes the one JSON object that a script reads, where it was asked for."""
    if as_json:
        sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
        sys.stdout.flush()


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yields a function (what, done, of) that moves a progress bar on stderr."""
    if not screen.is_terminal:
        yield _stages()
        return
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("starting", total=1)

        def move(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of)

        yield move


def _stages() -> Callable[[str, int, int], None]:
    """Returns a function that says each stage once, in a line, where there is no terminal for a bar."""
    said: list[str] = []

    def move(what: str, _done: int, _of: int) -> None:
        if said[-1:] != [what]:
            said.append(what)
            say(f"{what} ...")

    return move


def failed(error: FedprofileError, *, as_json: bool) -> int:
    """Tells an error and returns the exit code."""
    screen.print(f"Error [{error.code}]: {error.what}", style="bold red", markup=False, soft_wrap=True)
    say(f"  why: {error.why}")
    say(f"  do:  {error.do}")
    if as_json:
        answer(error.as_json(), as_json=True)
    return error.exit_code


def crashed(fault: BaseException, *, as_json: bool) -> int:
    """Tells an unexpected fault by its kind and place, never by its text, which may hold a row."""
    say("".join(traceback.format_tb(fault.__traceback__)))
    return failed(FedprofileError(f"unexpected {type(fault).__name__}"), as_json=as_json)

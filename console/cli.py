"""`fedprofile`: the one executable. Commands by who uses them; nothing heavy is imported before it is needed.

Does not decide anything: rooms below do, and raise coded errors that end the process with their exit code.
"""

from __future__ import annotations

import sys

import click
import typer

from console import central, region
from console.output import crashed, failed
from foundation.errors import FedprofileError, UsageWrong
from foundation.wire import keep_flower_quiet

app = typer.Typer(
    name="fedprofile",
    help="Federated user profiling: regions train at home under differential privacy, sums leave.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(region.app, name="region")
app.add_typer(central.plan, name="plan")
app.add_typer(central.app, name="central")
app.command()(central.simulate)
app.command()(central.demo)


def main() -> None:
    """Runs a command and ends the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs a command in this process and returns its exit code."""
    keep_flower_quiet()
    as_json = "--json" in arguments
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError:
        return UsageWrong("").exit_code  # the help is on the screen, and says what to do
    except FedprofileError as error:
        return failed(error, as_json=as_json)
    except (click.ClickException, click.Abort, KeyboardInterrupt) as error:
        return failed(_usage(error), as_json=as_json)
    except Exception as fault:  # noqa: BLE001 - the last resort: told by kind and place, without a value
        return crashed(fault, as_json=as_json)


def _usage(error: BaseException) -> UsageWrong:
    match error:
        case click.ClickException():
            return UsageWrong(error.format_message())
        case click.Abort():
            return UsageWrong("stopped at a question", why="it was not answered with yes")
        case _:
            return UsageWrong("interrupted", why="by the keyboard", do="run again, or --resume")

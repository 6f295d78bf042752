"""The command line: one table of commands, each loaded only when it is called.

Bodies live in one module per verb group. `--help` imports none of them; a test says so.
Only this floor turns errors into exit codes: 0 done, 1 `--fail-on` met, 2 usage or internal
error, 3 done with some pictures unreadable, 130 interrupted and resumable.
"""

import os
import sys
from typing import Any

import click

from counterproof import __version__
from counterproof.app.lazy import LazyGroup
from counterproof.errors import CounterproofError

__all__ = ["main"]

# name → where the command lives, and what `--help` says of it
COMMANDS: dict[str, tuple[str, str]] = {
    "scan": ("counterproof.app.scan:scan", "Look at pictures, folders or lists of them."),
    "show": ("counterproof.app.show:show", "Show one picture in depth."),
    "compare": ("counterproof.app.compare:compare", "Say what changed between two pictures."),
    "explain": (
        "counterproof.app.explain:explain",
        "Say what a code or status means, and does not.",
    ),
    "report": (
        "counterproof.app.report:report",
        "Write a report from a case; compare two; state methods.",
    ),
    "case": ("counterproof.app.case:case", "Merge, annotate, seal and verify cases."),
    "mark": ("counterproof.app.mark:mark", "Mark pictures: label, watermark, credential."),
    "generate": ("counterproof.app.generate:generate", "Draw pictures from a model, marked."),
    "generators": (
        "counterproof.app.generators:generators",
        "Train, measure and export models; compress pictures.",
    ),
    "recover": ("counterproof.app.recover:recover", "Find the credential that a copy lost."),
    "serve": ("counterproof.app.serve:serve", "Answer C2PA's soft binding resolution API."),
    "index": ("counterproof.app.index:index", "Index reference works, and find copies of them."),
    "audit": (
        "counterproof.app.audit:audit",
        "Ask rules of law of a folder; follow marks; count what a model gives back.",
    ),
    "redact": ("counterproof.app.redact:redact", "Write cleaned copies, proved clean."),
    "keys": ("counterproof.app.keys:keys", "Make a signing identity, or check a certificate."),
    "trust": ("counterproof.app.trust:trust", "List, update or add to the trust lists."),
    "detectors": (
        "counterproof.app.detectors:detectors",
        "Train and measure detectors of machine-made pictures.",
    ),
    "doctor": ("counterproof.app.doctor:doctor", "Check this installation."),
}


class _Root(LazyGroup):
    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; where the reader of its output has left, end quietly with 0."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # click would end with 1, which here means that `--fail-on` was met
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)


@click.group(cls=_Root, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="counterproof")
def cli() -> None:
    """Where does a picture come from, did a machine make it, and what risk does it carry?

    Nothing leaves this machine unless a flag says so. No answer proves that a picture is
    what it seems: `counterproof explain STATUS` says what each does and does not mean.
    """


def main() -> None:
    """Run the command line and exit with the documented code."""
    try:
        code = cli.main(standalone_mode=False)
        if isinstance(code, int):  # click returns the code of an `Exit` instead of raising it
            sys.exit(code)
    except click.exceptions.Exit as err:
        sys.exit(err.exit_code)
    except click.ClickException as err:
        err.show()
        sys.exit(2)
    except CounterproofError as err:
        click.echo(f"error: {err}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)

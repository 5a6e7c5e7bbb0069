"""The command line, `edgebed`: which commands there are, and how they end.

Exit codes: 0 expectations met, 1 missed, 2 scenario or usage wrong, 3 this machine cannot, 4 the run broke,
5 timed out, 6 degraded (without --allow-degraded), 130 interrupted. Results go to stdout, everything else to stderr.
"""

import os
import sys
from collections.abc import Sequence

import click

from orchestrator.commands.boards import boards
from orchestrator.commands.calibrate import calibrate
from orchestrator.commands.clean import clean
from orchestrator.commands.completion import completion
from orchestrator.commands.doctor import doctor
from orchestrator.commands.export import export
from orchestrator.commands.fuzz import fuzz
from orchestrator.commands.gantt import gantt
from orchestrator.commands.grafana import grafana
from orchestrator.commands.image import image
from orchestrator.commands.meters import meters
from orchestrator.commands.new import new
from orchestrator.commands.observe import observe
from orchestrator.commands.plan import plan
from orchestrator.commands.pretrain import pretrain
from orchestrator.commands.replay import replay
from orchestrator.commands.report import report
from orchestrator.commands.run import run
from orchestrator.commands.runs import runs
from orchestrator.commands.scenarios import list_scenarios, schema, show, validate
from orchestrator.commands.serve import serve
from orchestrator.commands.sweep import sweep
from orchestrator.commands.test_plugin import test_plugin
from orchestrator.commands.trace import trace
from orchestrator.commands.verify import verify
from orchestrator.errors import EdgebedError, MachineCannotError, UsageError
from orchestrator.exhausted import in_words

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="edgebed", prog_name="edgebed")
def cli() -> None:
    """Run one scenario of learning on edge devices - in virtual time, or with real processes on emulated links - and
    report what it cost: bytes, seconds, joules, and the accuracy they bought.

    \b
    Exit codes: 0 expectations met   1 missed       2 scenario or usage wrong   3 this machine cannot
                4 the run broke      5 timed out    6 degraded                  130 interrupted

    Every option can be given as an environment variable, EDGEBED_SEED=3 for --seed 3.
    """


COMMANDS = (
    run,
    sweep,
    plan,
    validate,
    list_scenarios,
    show,
    doctor,
    meters,
    boards,
    image,
    report,
    gantt,
    trace,
    verify,
    serve,
    runs,
    clean,
    schema,
    pretrain,
    calibrate,
    observe,
    replay,
    export,
    grafana,
    new,
    test_plugin,
    fuzz,
    completion,
)
for command in COMMANDS:
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors that are the user's or the machine's show no traceback."""
    try:
        code = cli.main(args=arguments, prog_name="edgebed", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except EdgebedError as error:
        click.echo(f"edgebed: {error}", err=True)
        _tell_mistake(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output went away (`edgebed plan x | head`): not an error, but stdout is of no more use.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (lacking := in_words(error)) is not None:
            click.echo(f"edgebed: {lacking}", err=True)
            return MachineCannotError.exit_code
        if not _tell_mistake(error):
            raise
        return UsageError.exit_code


def _tell_mistake(error: Exception) -> bool:
    """Say on which line of a plug-in an error came about, unless it says so itself; whether it was a plug-in's."""
    from node_image.plugins import find_mistake

    mistake = find_mistake(error)
    if mistake is not None and mistake.file not in str(error):
        click.echo(f"edgebed: {mistake}", err=True)
    return mistake is not None

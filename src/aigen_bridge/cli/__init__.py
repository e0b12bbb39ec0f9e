"""The commands. The exit status is 0 only on success, and 2 for wrong settings or options."""

import typer

from aigen_bridge.cli import (
    budgets,
    dead_letters,
    destinations,
    doctor,
    images,
    keys,
    marking,
    models,
    odoos,
    purge,
    requests,
    restored,
    run,
    show,
    usage,
)
from aigen_bridge.cli.terminal import complaints, fail
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.domain.errors import BridgeError, StoreUnavailableError, UnsuitableDatabaseError
from aigen_bridge.embedded import EmbeddedPostgresMissingError
from aigen_bridge.settings import WrongSettingsError
from aigen_bridge.sim import cli as sim

app = typer.Typer(
    name="aigen-bridge",
    help="Carries AI image requests from Odoo to N8N and the results back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(run.app)
app.add_typer(show.app)
app.add_typer(doctor.app)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(requests.app, name="requests")
app.add_typer(models.app, name="models")
app.add_typer(odoos.app, name="odoos")
app.add_typer(destinations.app, name="destinations")
app.add_typer(budgets.app, name="budgets")
app.add_typer(usage.app)
app.add_typer(marking.app, name="marking")
app.add_typer(images.app, name="images")
app.add_typer(purge.app)
app.add_typer(restored.app)
app.add_typer(keys.app, name="keys")
app.add_typer(sim.app, name="sim")


def main() -> None:
    """Runs the command line. Reports every expected error in one clear line."""
    try:
        app()
    except WrongSettingsError as error:
        fail(*error.lines, status=2)
    except EmbeddedPostgresMissingError as error:
        fail(str(error), status=2)
    except UnsuitableDatabaseError as error:
        fail(error.detail, error.advice)
    except StoreUnavailableError as error:
        fail(error.detail)
    except BridgeError as error:
        from aigen_bridge.api.problems import KINDS

        kind = KINDS.get(type(error))
        advice = [kind.action] if kind and not isinstance(error, InvalidMessageError) else []  # its lines say it
        fail(*complaints(error), *advice)
    except OSError as error:
        fail(str(error))

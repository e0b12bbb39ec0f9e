"""`aigen-bridge sim …`: runs one simulator, for experiments by hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aigen_bridge.sim.n8n_settings import AiMode, CallbackStyle, N8nSettings

if TYPE_CHECKING:
    from aigen_bridge.sim.simulator import Simulator

app = typer.Typer(help="Simulators of Odoo, N8N and the AI service with the real protocols.", no_args_is_help=True)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)]


def _run(simulator: "Simulator", host: str, port: int, path: str = "") -> None:
    from aigen_bridge.sim.serving import run

    def announce(url: str) -> None:
        print(f"Ready: {url}{path}. Faults on command: POST {url}/_sim/faults. Stop with Ctrl-C.", flush=True)

    run(simulator.app, host, port, announce=announce)


@app.command()
def flux(
    key: Annotated[str, typer.Option(help="Key that callers send as 'Authorization: Key …'.")],
    host: Host = "127.0.0.1",
    port: Port = 8190,
    seconds: Annotated[float, typer.Option(help="How long a generation takes.", min=0)] = 2.0,
    url_lifetime: Annotated[float, typer.Option(help="Seconds until an image URL expires.", min=0)] = 360.0,
    queue_seconds: Annotated[float, typer.Option(help="How long a job waits in the queue at least.", min=0)] = 1.0,
    runners: Annotated[int, typer.Option(help="Number of queued jobs that run at the same time.", min=1)] = 10,
    result_lifetime: Annotated[
        float, typer.Option(help="Seconds after its end until a job's status and result are gone.", min=0)
    ] = 360.0,
) -> None:
    """Simulates the AI service with the API of fal.ai's flux-lora, synchronous and queued; draws real images.

    GET /_sim/jobs lists the jobs and says which are billed. PUT /_sim/hold/IN_QUEUE or /_sim/hold/IN_PROGRESS keeps
    jobs in that stage until DELETE of the same URL.
    """
    from aigen_bridge.sim.flux import FluxSettings, FluxSimulator

    settings = FluxSettings(
        key=key,
        seconds=seconds,
        url_lifetime=url_lifetime,
        queue_seconds=queue_seconds,
        runners=runners,
        result_lifetime=result_lifetime,
    )
    _run(FluxSimulator(settings), host, port, "/fal-ai/flux-lora")


@app.command()
def n8n(
    key: Annotated[str, typer.Option(help="Key that the bridge sends as X-API-Key.")],
    callback_key: Annotated[str, typer.Option(help="Key that is sent to the callback as X-API-Key.")],
    host: Host = "127.0.0.1",
    port: Port = 5678,
    flux_url: Annotated[
        str | None, typer.Option(help="URL of the AI service; without it, images are drawn here.")
    ] = None,
    flux_key: Annotated[str | None, typer.Option(help="Key of the AI service.")] = None,
    callback_style: Annotated[CallbackStyle, typer.Option(help="Format in which results are sent.")] = "v1",
    bridge_url: Annotated[str | None, typer.Option(help="The only bridge that this N8N asks and reports to.")] = None,
    speaks: Annotated[
        bool, typer.Option(help="Ask before the paid work, name the job, report progress; or the older workflow.")
    ] = True,
    ai_mode: Annotated[AiMode, typer.Option(help="How the AI service is called.")] = "queue",
    ai_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin beside --flux-url at which models of the catalogue may be called; several times."),
    ] = None,
    signing_secret: Annotated[str | None, typer.Option(help="whsec_…: sign callbacks.")] = None,
    webhook_signing_secret: Annotated[
        str | None, typer.Option(help="whsec_…: refuse requests that the bridge has not signed with it (401).")
    ] = None,
    repeat_progress: Annotated[
        float, typer.Option(help="Seconds after which unchanged progress is reported again.", min=0)
    ] = 10.0,
    ack_seconds: Annotated[float, typer.Option(help="How long the acknowledgement takes.", min=0)] = 0.15,
    starting_seconds: Annotated[
        float, typer.Option(help="At startup: seconds of N8N's start page (200) on every path.", min=0)
    ] = 0.0,
    no_webhook_seconds: Annotated[
        float, typer.Option(help="After that: seconds in which the webhook is not registered (404).", min=0)
    ] = 0.0,
    executions: Annotated[
        Path | None, typer.Option(help="File of running executions; dead ones are reported at the next start.")
    ] = None,
    crash_reports: Annotated[
        float, typer.Option(help="Probability that a dead execution is reported.", min=0, max=1)
    ] = 1.0,
) -> None:
    """Simulates N8N with the workflow: webhook, AI service, callback with retries.

    POST /_sim/restart kills the running executions and restarts N8N. The body may say when and how:
    {"down_seconds": 5, "starting_seconds": 2, "no_webhook_seconds": 4}.

    POST /_sim/pause makes N8N stand still as after SIGSTOP; POST /_sim/wake wakes it.

    POST /_sim/faults {"kind": "kill", "route": "before_job", "delay": 5} kills it when an execution reaches a node, and
    starts it again after 5 s; "pause" pauses it for 5 s. Nodes: before_ask, after_ask, while_submitting, before_job,
    after_job, while_polling, before_fetching, before_callback, while_calling_back.
    """
    from aigen_bridge.sim.n8n import N8nSimulator

    settings = N8nSettings(
        key=key,
        callback_key=callback_key,
        flux_url=flux_url,
        flux_key=flux_key,
        callback_style=callback_style,
        bridge_url=bridge_url,
        speaks=speaks,
        ai_mode=ai_mode,
        ai_origins=tuple(ai_origin or ()),
        signing_secret=signing_secret,
        webhook_signing_secret=webhook_signing_secret,
        repeat_progress=repeat_progress,
        ack_seconds=ack_seconds,
        starting_seconds=starting_seconds,
        no_webhook_seconds=no_webhook_seconds,
        executions_path=executions,
        crash_reports=crash_reports,
    )
    _run(N8nSimulator(settings), host, port, "/webhook/aigen/v1/generate")


@app.command()
def odoo(
    api_key: Annotated[str, typer.Option(help="API key of the bridge's user.")],
    host: Host = "127.0.0.1",
    port: Port = 8069,
    database: Annotated[str, typer.Option(help="The only database.")] = "odoo",
    login: Annotated[str, typer.Option(help="Login of the bridge's user.")] = "aigen-bridge",
    seconds: Annotated[float, typer.Option(help="How long a call takes.", min=0)] = 0.03,
    state: Annotated[Path | None, typer.Option(help="Folder that stores the applied results.")] = None,
    series: Annotated[Literal["18.0", "19.0"], typer.Option(help="18.0, or 19.0 with /json/2.")] = "18.0",
    database_uuid: Annotated[str, typer.Option(help="UUID of the database; one is made when it is empty.")] = "",
) -> None:
    """Simulates /jsonrpc (and /json/2 in Odoo 19) with the addon's methods."""
    from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator

    settings = OdooSettings(
        api_key=api_key,
        database=database,
        login=login,
        seconds=seconds,
        state_path=state,
        series=series,
        database_uuid=database_uuid,
    )
    _run(OdooSimulator(settings), host, port)

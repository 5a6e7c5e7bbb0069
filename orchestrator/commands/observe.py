"""`edgebed observe`: Prometheus (and Grafana, where Docker has it) watching every run of this user."""

import signal

import click

from orchestrator.commands.options import option


@click.command()
@option("--port", type=click.IntRange(1, 65535), default=9090, show_default=True, help="Loopback port of Prometheus.")
@option("--grafana/--no-grafana", default=True, show_default=True, help="Start Grafana too, where Docker has it.")
def observe(port: int, grafana: bool) -> int:
    """Start a Prometheus on loopback that finds every run by itself, until Ctrl-C.

    Runs started before or after it appear within some five seconds; old and simulated ones with `edgebed replay`.
    Grafana comes beside it where Docker has its image (observability/compose.yaml); the dashboards can also be put
    into any other Grafana: edgebed grafana push.
    """
    import asyncio

    return asyncio.run(_observe(port, grafana))


async def _observe(port: int, with_grafana: bool) -> int:
    import asyncio

    from orchestrator.errors import RunBrokeError
    from orchestrator.telemetry import compose, observe
    from orchestrator.telemetry.discovery import state_folder

    folder = state_folder()
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    async with observe.prometheus(folder, port) as process:
        click.echo(f"prometheus  http://127.0.0.1:{port}  (its data: {folder}/data)")
        if with_grafana:
            started, said = await asyncio.to_thread(compose.up, folder, port)
            click.echo(f"grafana     {said}", err=not started)
        click.echo("runs appear by themselves; old ones: edgebed replay RUN; Ctrl-C ends this", err=True)
        ended, waiting = asyncio.create_task(process.wait()), asyncio.create_task(over.wait())
        try:
            await asyncio.wait({ended, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            if with_grafana and started:
                await asyncio.to_thread(compose.down, folder)
        if not over.is_set():
            raise RunBrokeError(f"prometheus ended by itself ({process.returncode}); its log: {folder}/prometheus.log")
    return 0

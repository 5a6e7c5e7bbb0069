"""`edgebed image`: make the image that nodes in containers start from."""

import click

from orchestrator.commands.options import option

BASE = "python:3.11-slim-bookworm"


@click.command()
@option("--base", default=BASE, show_default=True, help="Base image; `debootstrap` makes one from Debian's packages.")
@click.option("--force", is_flag=True, help="Make it anew, base and all.")
def image(base: str, force: bool) -> int:
    """Make the image of a node, for --substrate docker.

    From node_image/Dockerfile, without a network but for the wheels and the base. The same files give the same id.
    """
    from orchestrator.hosts import container
    from orchestrator.hosts.image import archive_of, content, make_image

    address = container.engine_address()
    if not force and not (container.missing_engine(address) or container.missing_image(address, content())):
        click.echo(f"{container.IMAGE} is up to date", err=True)
        return 0
    made = make_image(base, lambda step: click.echo(f"image: {step}", err=True), anew=force)
    click.echo(f"{container.IMAGE} {made}")
    click.echo(f"image: also in {archive_of()}, for `docker load` on another machine", err=True)
    return 0

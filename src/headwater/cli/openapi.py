"""`headwater openapi`: the document of the REST API."""

import click


@click.command()
def openapi_command() -> None:
    """Print the OpenAPI 3.1 document."""
    from headwater.api.openapi import document

    click.echo(document().decode())

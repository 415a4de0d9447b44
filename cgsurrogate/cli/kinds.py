"""``cgsurrogate kinds``: every name that an option takes, with its options."""

from __future__ import annotations

import click


@click.command("kinds", epilog="Example:  cgsurrogate kinds networks")
@click.argument("family", required=False)
def command(family: str | None) -> None:
    """List the kinds of a FAMILY (mappings, priors, networks, ..., published), or of all, with their options."""
    import inspect

    from cgsurrogate.core import registry

    for name in (family,) if family else registry.FAMILIES:
        click.echo(f"{name}:")
        for kind in registry.kinds(name):
            build = registry.builder(name, kind)
            options = [f"{p.name}={p.default}" for p in inspect.signature(build).parameters.values()
                       if p.default is not inspect.Parameter.empty]  # fmt: skip
            module = inspect.getmodule(build)
            about = (inspect.getdoc(module) or "").split("\n")[0]
            click.echo(f"  {kind:<16}{about}")
            if options:
                click.echo(f"  {'':<16}options: {', '.join(options)}")

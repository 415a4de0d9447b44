"""``cgsurrogate kinds``: every name that an option takes, with its options; and the contract of your own."""

from __future__ import annotations

import click


@click.command("kinds", epilog="Example:  cgsurrogate kinds networks")
@click.argument("family", required=False)
@click.option(
    "--check",
    metavar="KIND",
    help="Try a kind, or a .py file of your own with its options as ./mine.py:key=value, on every law of its family.",
)
@click.option("--family", "of", metavar="FAMILY", help="Of --check, where the file does not show it.")
def command(family: str | None, check: str | None, of: str | None) -> None:
    """List the kinds of a FAMILY (mappings, priors, networks, ..., published), or of all, with their options.

    With --check, say for each law of the contract whether a kind keeps it, and what to mend; exit code 1 if one does
    not.
    """
    if check is not None:
        _check(check, of or family)
        return
    from cgsurrogate.core import registry

    for name in (family,) if family else registry.FAMILIES:
        _list(name)


def _list(family: str) -> None:
    import inspect

    from cgsurrogate.core import registry

    click.echo(f"{family}:")
    for kind in registry.kinds(family):
        build = registry.builder(family, kind)
        options = [f"{p.name}={p.default}" for p in inspect.signature(build).parameters.values()
                   if p.default is not inspect.Parameter.empty]  # fmt: skip
        about = (inspect.getdoc(inspect.getmodule(build)) or "").split("\n")[0]
        click.echo(f"  {kind:<16}{about}")
        if options:
            click.echo(f"  {'':<16}options: {', '.join(options)}")


def _check(text: str, family: str | None) -> None:
    from cgsurrogate import testing

    try:
        family = family or testing.family_of(text)
    except testing.ContractError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{text}, of the {family}:")
    broken = 0
    for law, fault in testing.outcomes(text, family):
        click.echo(f"  {'ok    ' if fault is None else 'BROKEN'}  {law}")
        if fault is not None:
            click.echo(f"          {fault}")
            broken += 1
    if broken:
        raise click.ClickException(f"{broken} of {len(testing.LAWS[family])} laws are broken")

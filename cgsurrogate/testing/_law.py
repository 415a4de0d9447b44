"""What a law of a contract is: a function that raises ``ContractError`` in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from cgsurrogate.core import registry


class ContractError(AssertionError):
    """A kind breaks a law of its family; says what was expected, what came, and the remedy."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of a family by its name, or by the path of a user's file, with its options."""

    family: str
    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def build(self, *arguments: Any, **more: Any) -> Any:
        return registry.build(self.family, self.name, *arguments, **self.options, **more)


Law = Callable[[Kind], None]


def expect(holds: Any, expected: str, came: object, remedy: str) -> None:
    """Raise ``ContractError`` unless something holds."""
    if not holds:
        raise ContractError(f"expected {expected}; got {came}; {remedy}")


def sentence(law: Law) -> str:
    """What a law says, from its name."""
    return law.__name__.replace("_", " ")

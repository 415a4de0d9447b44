"""The few things of Markdown that a model card is made of, as plain text: headings, paragraphs, lists and tables."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

RULE = re.compile(r"\|?[\s:|-]+\|?$")  # the line below the head of a table
MARKS = re.compile(r"\*\*|__|`|(?<!\S)\*(?=\S)|(?<=\S)\*(?!\w)")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@dataclasses.dataclass(frozen=True)
class Block:
    """``kind`` is "heading", "text", "list" or "table"; each row holds the cells of a table, or one text."""

    kind: str
    rows: tuple[tuple[str, ...], ...]
    level: int = 0  # of a heading


def blocks(text: str) -> tuple[Block, ...]:
    """The parts of a Markdown text, in their order.

    >>> [one.kind for one in blocks("# Card\\n\\nSome\\ntext.\\n\\n- a\\n- b\\n")]
    ['heading', 'text', 'list']
    """
    found: list[Block] = []
    for line in text.splitlines():
        bare = line.strip()
        kind = _kind(bare)
        if not kind:
            found.append(Block("", ()))
        elif kind == "heading":
            found.append(Block(kind, ((_plain(bare.lstrip("# ")),),), len(bare) - len(bare.lstrip("#"))))
        elif kind == "table":
            row = tuple(_plain(cell) for cell in bare.strip("|").split("|"))
            _extend(found, kind, () if RULE.match(bare) else (row,))
        elif kind == "list":
            _extend(found, kind, ((_plain(bare[2:]),),))
        else:
            _continue(found, _plain(bare))
    return tuple(one for one in found if one.rows)


def about(card: Sequence[Block], word: str) -> tuple[Block, ...]:
    """What stands below the first heading that holds a word, up to the next heading of its level or above."""
    for place, one in enumerate(card):
        if one.kind == "heading" and word in one.rows[0][0].lower():
            rest = card[place + 1 :]
            ends = (k for k, later in enumerate(rest) if later.kind == "heading" and later.level <= one.level)
            return tuple(rest[: next(ends, len(rest))])
    return ()


def _kind(line: str) -> str:
    if not line:
        return ""
    if line.startswith("#"):
        return "heading"
    if line.startswith("|"):
        return "table"
    return "list" if line.startswith(("- ", "* ")) else "text"


def _extend(found: list[Block], kind: str, rows: tuple[tuple[str, ...], ...]) -> None:
    if found and found[-1].kind == kind:
        found[-1] = Block(kind, (*found[-1].rows, *rows))
    else:
        found.append(Block(kind, rows))


def _continue(found: list[Block], text: str) -> None:
    """A further line of a paragraph, or of the last entry of a list."""
    if found and found[-1].kind in ("text", "list"):
        *before, (last,) = found[-1].rows
        found[-1] = Block(found[-1].kind, (*before, (f"{last} {text}",)))
    else:
        found.append(Block("text", ((text,),)))


def _plain(text: str) -> str:
    return MARKS.sub("", LINK.sub(r"\1", text)).strip()

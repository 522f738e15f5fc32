"""Pieces of HTML that the sections of the page share; every text that they are given is escaped."""

import html
from collections.abc import Sequence
from typing import NamedTuple


class Section(NamedTuple):
    """A titled part of the page that links can point at by `anchor`; `content` is markup."""

    anchor: str
    title: str
    content: str

    def markup(self) -> str:
        return f'<section id="{self.anchor}"><h2>{text(self.title)}</h2>{self.content}</section>'

    def link(self) -> str:
        return f'<a href="#{self.anchor}">{text(self.title)}</a>'


class Linked(NamedTuple):
    """Text of a cell that leads to `anchor`, if there is one, and a smaller line below it."""

    text: str
    anchor: str
    below: str = ""

    def markup(self) -> str:
        below = f"<small>{text(self.below)}</small>" if self.below else ""
        return (f'<a class="figure" href="#{self.anchor}">{text(self.text)}</a>' if self.anchor else text(self.text)) + below


def text(value: object) -> str:
    """`value` as text of an element or inside a quoted attribute."""
    return html.escape(str(value), quote=True)


def note(*sentences: str) -> str:
    """A paragraph in small print."""
    return f'<p class="note">{text(" ".join(sentences))}</p>'


def figure(title: str, drawing: str) -> str:
    """`drawing`, which is markup, below its title."""
    return f"<figure><figcaption>{text(title)}</figcaption>{drawing}</figure>"


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str | Linked]], emphasised: int = 0, *, style: str = "") -> str:
    """A table whose first column names the rows; the first `emphasised` rows stand out.

    Args:
      style: `dense` for many columns of numbers, `wrap` for texts.
    """
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = ""
    for index, (name, *cells) in enumerate(rows):
        values = "".join(f"<td>{cell.markup() if isinstance(cell, Linked) else text(cell)}</td>" for cell in cells)
        body += f'<tr{" class=model" if index < emphasised else ""}><th scope="row">{text(name)}</th>{values}</tr>'
    styled = f' class="{style}"' if style else ""
    content = f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll" role="region" aria-label="{text(caption)}" tabindex="0"><table{styled}>{content}</table></div>'

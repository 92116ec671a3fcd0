"""One self-contained HTML page from headings, tables, figures and pictures; it needs no network."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medcli.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST_SIDE = 900
"""Pictures are shrunk to this many pixels, so that a report stays small enough to send."""
SMALL_SIDE = 160
"""Pictures up to this size are stored without loss and shown with square pixels, larger ones as WebP."""

LONG_TEXT = 40
"""Cells with more letters are not made narrow."""
MANY_COLUMNS = 9
"""Tables with more are printed in smaller letters."""


class Card(NamedTuple):
    """One number at the head of a report.

    Attributes:
        label: What it is.
        value: A number or a text.
        note: Small print below it, for example its interval.
    """

    label: str
    value: Any
    note: str = ""


class Report:
    """Collects the parts of a page in order and writes them as one file.

    All text is escaped. Every call returns the report, so calls can be chained.

    Example:
        >>> page = Report("Evaluation", "1 case").heading("Cases").table([{"case": "a", "dice": 0.91}]).html()
        >>> "<td>a</td>" in page
        True
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._parts: list[str] = []
        self._headings: list[str] = []

    def heading(self, text: str) -> "Report":
        """Start a section; it also appears in the contents at the top."""
        self._headings.append(text)
        first = ' class="first"' if len(self._headings) == 1 else ""
        return self._add(f'<h2 id="section-{len(self._headings)}"{first}>{html.escape(text)}</h2>')

    def subheading(self, text: str) -> "Report":
        """A heading within the section; it is not in the contents."""
        return self._add(f"<h3>{html.escape(text)}</h3>")

    def paragraph(self, text: str) -> "Report":
        return self._add(f"<p>{html.escape(text)}</p>")

    def bullets(self, texts: Sequence[str]) -> "Report":
        items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
        return self._add(f"<ul>{items}</ul>") if items else self

    def answers(self, answers: Sequence[tuple[str, Sequence[str]]]) -> "Report":
        """Questions with a few sentences each, for a reader in a hurry."""
        shown = "".join(
            f'<section class="answer"><h3>{html.escape(question)}</h3>'
            + "".join(f"<p>{html.escape(text)}</p>" for text in texts)
            + "</section>"
            for question, texts in answers
        )
        return self._add(f'<div class="answers">{shown}</div>')

    def terms(self, pairs: Sequence[tuple[str, str]]) -> "Report":
        """Names with what is said of them."""
        items = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in pairs)
        return self._add(f'<dl class="terms">{items}</dl>') if items else self

    def cards(self, cards: Sequence[Card | tuple]) -> "Report":
        """Large numbers in a row: the few that a reader wants first."""
        return self._add('<div class="cards">' + "".join(_card(Card(*card)) for card in cards) + "</div>")

    def table(
        self, rows: Sequence[Mapping[str, Any]], caption: str = "", *, file: str = "", long: bool = False
    ) -> "Report":
        """Columns are the rows' keys in order of first appearance; a click on a column's head sorts by it.

        Args:
            file: That holds the same, named below the caption.
            long: Only the first lines are printed on paper.
        """
        columns = list(dict.fromkeys(key for row in rows for key in row))
        numeric = {name for name in columns if all(_is_number(row.get(name)) for row in rows)}
        head = "".join(_cell("th", name, name in numeric) for name in columns)
        body = "".join(
            "<tr>" + "".join(_cell("td", row.get(name), name in numeric) for name in columns) + "</tr>"
            for row in rows
        )
        kept = f' <span class="file">{html.escape(file)}</span>' if file else ""
        text = f"<caption><span>{html.escape(caption)}{kept}</span></caption>" if caption or file else ""
        kind = "table" + (" long" if long else "") + (" many" if len(columns) > MANY_COLUMNS else "")
        label = html.escape(caption or "table")
        return self._add(
            f'<div class="{kind}" role="region" tabindex="0" aria-label="{label}"><table>{text}'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def figure(self, figure: "Figure", caption: str = "", alt: str = "") -> "Report":
        """A matplotlib figure, embedded as PNG; figures that follow one another stand side by side."""
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150, bbox_inches="tight", facecolor="white")
        return self.plot(stream.getvalue(), caption, alt)

    def plot(self, png: bytes, caption: str = "", alt: str = "") -> "Report":
        """Like `figure`, for one that was saved as PNG already."""
        shown = _figure(_data_address("png", png), caption, alt or caption or "figure")
        return self._add_to_row("figures", shown)

    def pictures(
        self,
        pictures: Sequence[tuple[np.ndarray, str]],
        caption: str = "",
        *,
        wide: bool = False,
        shows: str = "",
    ) -> "Report":
        """A grid of (uint8 RGB array (row, column, 3), caption).

        Args:
            wide: About two in a row, not four.
            shows: What every picture shows, for those who cannot see it; said before the caption.
        """
        shown = "".join(_picture(rgb, text, shows) for rgb, text in pictures)
        text = f'<p class="caption">{html.escape(caption)}</p>' if caption else ""
        return self._add(f'{text}<div class="pictures{" wide" if wide else ""}">{shown}</div>')

    def warnings(self, texts: Sequence[str]) -> "Report":
        """A box with what a reader should know; nothing when there is none."""
        if not texts:
            return self
        items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
        return self._add(f'<div class="warnings" role="note"><strong>To know</strong><ul>{items}</ul></div>')

    def html(self) -> str:
        """The whole page."""
        contents = "".join(
            f'<a href="#section-{number}">{html.escape(text)}</a>'
            for number, text in enumerate(self._headings, 1)
        )
        return _asset("report.html").format(
            title=html.escape(self.title),
            subtitle=html.escape(self.subtitle),
            style=_asset("report.css"),
            script=_asset("report.js"),
            contents=f'<nav aria-label="Contents">{contents}</nav>' if contents else "",
            body="\n".join(self._parts),
        )

    def write(self, path: Path) -> None:
        write_text(Path(path), self.html())

    def _add(self, part: str) -> "Report":
        self._parts.append(part)
        return self

    def _add_to_row(self, kind: str, item: str) -> "Report":
        """Put the item into the row that was opened last if it is of the same kind, else open a row."""
        opening, closing = f'<div class="{kind}">', "</div>"
        if self._parts and self._parts[-1].startswith(opening):
            self._parts[-1] = self._parts[-1].removesuffix(closing) + item + closing
            return self
        return self._add(opening + item + closing)


_DIGITS = ((3, 10), (2, 100), (1, 10_000), (0, math.inf))
"""Digits after the point for numbers below this."""


def number_text(value: Any) -> str:
    """A number as people read it: integers whole, others with the digits that matter; a dash for nothing."""
    if value is None or value == "":
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return str(value)
    if isinstance(value, (float, np.floating)):
        if not math.isfinite(value):
            return "–"
        return next(f"{value:,.{digits}f}" for digits, below in _DIGITS if abs(float(value)) < below)
    return str(value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float, np.number)) and not isinstance(value, bool))


def _cell(tag: str, value: Any, numeric: bool) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    long = tag == "td" and len(str(value)) > LONG_TEXT
    kind = ' class="number"' if numeric else ' class="words"' if long else ""
    return f"<{tag}{scope}{kind}>{html.escape(number_text(value))}</{tag}>"


def _card(card: Card) -> str:
    note = f'<span class="note">{html.escape(card.note)}</span>' if card.note else ""
    return (
        f'<div class="card"><span class="label">{html.escape(card.label)}</span>'
        f'<span class="value">{html.escape(number_text(card.value))}</span>{note}</div>'
    )


def _figure(address: str, caption: str, alt: str, kind: str = "") -> str:
    text = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure{kind}><img src="{address}" alt="{html.escape(alt)}" loading="lazy">{text}</figure>'


def _picture(rgb: np.ndarray, caption: str, shows: str) -> str:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(rgb, np.uint8))
    small = max(picture.size) <= SMALL_SIDE
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    stream = io.BytesIO()
    if small:
        picture.save(stream, "PNG")
    else:
        picture.save(stream, "WEBP", quality=88, method=2)
    address = _data_address("png" if small else "webp", stream.getvalue())
    alt = ": ".join(part for part in (shows, caption) if part) or "picture"
    return _figure(address, caption, alt, ' class="small"' if small else "")


def _data_address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _asset(name: str) -> str:
    return resources.files("medcli").joinpath("assets", name).read_text(encoding="utf-8")

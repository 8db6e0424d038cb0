"""One page of all figures that are there, which needs no other file and no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from benchmarks.headline.figures.style import INK
from benchmarks.headline.output.written import Written, read

ORDER = ("attainment", "oracle", "ablations", "memory", "limits", "mispredictions", "cost", "timeline")

_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*"', re.DOTALL)
_HEIGHT = re.compile(r'(<svg[^>]*?) height="[^"]*"', re.DOTALL)
_ID = re.compile(r'(\bid="|url\(#|xlink:href="#)')


def write_report(folder: Path, form: str) -> Path:
    """The page ``report-FORM.html`` of all figures of a form in ``folder``."""
    found = {path.parent.name: path.parent for path in folder.glob(f"*-{form}/figure.json")}
    sections = [(read(found[name]), found[name]) for name in (f"{each}-{form}" for each in ORDER) if name in found]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html.jinja").render(
        form=form, figures=[(figure, pictures(figure, place)) for figure, place in sections]
    )
    file = folder / f"report-{form}.html"
    file.write_text(page)
    return file


def pictures(figure: Written, folder: Path) -> Sequence[tuple[str, Markup]]:
    """A figure's pictures as elements of a page: its ink is the page's, its ids are its own."""
    return [(name, Markup(inline_svg((folder / f"{name}.svg").read_text(), name))) for name in figure.pictures]


def inline_svg(text: str, name: str) -> str:
    """The ``svg`` element alone, as wide as it is given room, in the colour of the text around it."""
    element = _HEAD.sub("", text, count=1)
    element = _HEIGHT.sub(r"\1", _SIZE.sub(r"\1", element, count=1), count=1)
    element = _ID.sub(rf"\g<1>{re.sub('[^a-z0-9]', '-', name.lower())}-", element)
    return element.replace(INK, "currentColor")

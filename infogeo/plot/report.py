"""Reports: one HTML file that needs nothing else, its figures inside.

Blocks are strings of HTML; `paragraph`, `table` and `figure` make them, `section` joins them
under a heading and `page` makes the file. All text is escaped.
"""

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from infogeo._docs import finish
from infogeo._system.files import replacing

__all__ = ["figure", "page", "paragraph", "section", "table", "to_png", "write_file"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #444; --paper: #fff; --panel: #fafafa;
        --line: #d0d0d0; --track: #eee; --mark: #fff3b0; --link: #00609a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #b4b4b4; --paper: #131518; --panel: #1c1f23; --line: #43474d;
          --track: #2c3036; --mark: #5c4d12; --link: #7cc4f4; }
}
body { max-width: 62rem; margin: 0 auto; padding: 1.5rem;
       color: var(--ink); background: var(--paper);
       font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1, h2, a, caption, figcaption, p { overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0.5rem 0 1rem; }
h2 { font-size: 1.35rem; margin: 2.8rem 0 0.6rem; padding-top: 1rem;
     border-top: 1px solid var(--line); }
a { color: var(--link); }
nav ol { columns: 18rem; max-width: 46rem; margin: 1.2rem 0; padding-left: 1.4rem;
         line-height: 1.8; }
p { max-width: 46rem; }
figure { margin: 1.6rem 0; }
figure img { max-width: 100%; height: auto; display: block; background: #fff; border-radius: 3px; }
figcaption, caption { color: var(--soft); font-size: 0.95rem; max-width: 46rem; text-align: left;
                      margin-top: 0.5rem; }
table { border-collapse: collapse; margin: 1.6rem 0; }
caption { caption-side: bottom; }
th, td { padding: 0.3rem 1.1rem 0.3rem 0; text-align: right; border-bottom: 1px solid var(--line);
         font-variant-numeric: tabular-nums; }
th { border-bottom: 2px solid var(--soft); vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; }
tr.marked { background: var(--mark); }
@media (max-width: 46rem) {
  body { padding: 0.8rem; }
  h1 { font-size: 1.5rem; }
  figure img { max-width: none; width: max(100%, 44rem); }  /* moved sideways, to be read */
}
"""


def paragraph(text: str) -> str:
    """Return a paragraph of plain text.

    Parameters
    ----------
    text : str
        Shown as it is; markup in it is escaped.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> paragraph("p < q")
    '<p>p &lt; q</p>'
    """
    return f"<p>{html.escape(text)}</p>"


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    inputs: Sequence[int] | None = None,
) -> str:
    """Return a table.

    Parameters
    ----------
    header : sequence of str
        The columns, with units.
    rows : sequence of sequences
        The cells, one for each column; numbers as they are to be shown.
    caption : str
        What the table says, below it.
    inputs : sequence of int or None
        The number of the input that each row is about: its first cell becomes a link that selects
        this input in the maps of `infogeo.plot.explorer`, and the row is marked when the input is
        selected there.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    ValueError
        A row with more or fewer cells than the header; inputs that are not one for each row.

    Examples
    --------
    >>> table(["radius", "share"], [["0.1", "97 %"]])
    '<div class="wide"><table><tr><th>radius</th><th>share</th></tr>...</table></div>'
    """
    header, rows = list(header), [list(row) for row in rows]
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(
                f"rows must have one cell for each of the {len(header)} columns: "
                f"row {i} has {len(row)}."
            )
    if inputs is not None and len(inputs) != len(rows):
        raise ValueError(f"inputs must have {len(rows)} entries: it has {len(inputs)}.")
    numbers = [None] * len(rows) if inputs is None else [int(number) for number in inputs]
    lines = [_cells("th", header)]
    lines += [_cells("td", row, number) for row, number in zip(rows, numbers, strict=True)]
    if caption:
        lines.insert(0, f"<caption>{html.escape(caption)}</caption>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _cells(tag: str, values: Iterable[object], number: int | None = None) -> str:
    first, *others = [html.escape(str(value)) for value in values] or [""]
    if number is not None:
        first = f'<a href="#input-{number}">{first}</a>'
    row = "<tr>" if number is None else f'<tr data-input="{number}">'
    return f"{row}{''.join(f'<{tag}>{text}</{tag}>' for text in (first, *others))}</tr>"


def figure(png: bytes, *, caption: str, description: str) -> str:
    """Return a figure whose image is inside the HTML.

    Parameters
    ----------
    png : bytes
        The image, from `to_png`.
    caption : str
        What the figure shows, below it.
    description : str
        A short description in place of the image, for readers who cannot see it.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    ValueError
        Bytes that are not a PNG image.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> block = figure(to_png(Figure()), caption="Nothing yet.", description="an empty figure")
    >>> block[:58]
    '<figure><div class="wide"><img alt="an empty figure" src="'
    """
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"png must hold a PNG image: it starts with {png[:8]!r}.")
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><div class="wide"><img alt="{html.escape(description)}" '
        f'src="data:image/png;base64,{data}"></div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def section(heading: str, *blocks: str) -> str:
    """Join blocks under a heading.

    Parameters
    ----------
    heading : str
        Plain text.
    *blocks : str
        HTML, from `paragraph`, `table` and `figure`.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> print(section("Distances", paragraph("In radians.")))
    <h2>Distances</h2>
    <p>In radians.</p>
    """
    return "\n".join([f"<h2>{html.escape(heading)}</h2>", *blocks])


def page(title: str, *blocks: str) -> str:
    """Return a whole HTML file that refers to nothing outside itself.

    It fits a phone, and it is dark where the reader prefers that. Several sections get a table of
    contents.

    Parameters
    ----------
    title : str
        Plain text.
    *blocks : str
        HTML, from `section`, `paragraph`, `table` and `figure`.

    Returns
    -------
    str
        The text of the file.

    Examples
    --------
    >>> page("Digits", paragraph("Hello.")).splitlines()[0]
    '<!DOCTYPE html>'
    """
    title = html.escape(title)
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>"
    )
    text, contents = _with_contents("\n".join(blocks))
    return "\n".join([head, *contents, text, "</body>\n</html>\n"])


def _with_contents(text: str) -> tuple[str, list[str]]:
    """Return blocks whose headings can be referred to, and a list of these where it helps."""
    headings: list[str] = []

    def named(match: re.Match[str]) -> str:
        headings.append(match[1])
        return f'<h2 id="section-{len(headings)}">{match[1]}</h2>'

    text = re.sub(r"<h2>(.*?)</h2>", named, text)
    if len(headings) < 3:
        return text, []
    links = (
        f'<li><a href="#section-{number}">{heading}</a></li>'
        for number, heading in enumerate(headings, start=1)
    )
    return text, [f'<nav aria-label="contents"><ol>{"".join(links)}</ol></nav>']


def to_png(figure: Figure, *, dpi: float = 110) -> bytes:
    r"""Return a matplotlib figure as a PNG image.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    dpi : float
        Pixels per inch.

    Returns
    -------
    bytes
        The image; the same figure gives the same bytes.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> to_png(Figure())[:4]
    b'\x89PNG'
    """
    buffer = io.BytesIO()
    # The version of matplotlib would otherwise be in every file.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def write_file(path: str | Path, content: str | bytes) -> Path:
    """Write a file whole or not at all.

    Parameters
    ----------
    path : str or pathlib.Path
        The file; one that exists is replaced. Its folder has to exist.
    content : str or bytes
        Text is written as UTF-8.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    OSError
        The file cannot be written; an older one is then untouched.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_file(f"{folder}/note.txt", "hello").read_text()
    'hello'
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as partial:
        partial.write_bytes(data)
    return path


finish(globals(), checks=False)

"""Reports: one HTML file that needs nothing else, its figures inside.

Blocks are strings of HTML; `paragraph`, `table` and `figure` make them, `section` joins them
under a heading and `page` makes the file. All text is escaped.
"""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from infogeo._docs import finish
from infogeo._system.files import replacing

__all__ = ["figure", "page", "paragraph", "section", "table", "to_png", "write_file"]

_STYLE = """
body { max-width: 62rem; margin: 0 auto; padding: 1.5rem; color: #1a1a1a; background: #fff;
       font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0.5rem 0 1rem; }
h2 { font-size: 1.35rem; margin: 2.8rem 0 0.6rem; padding-top: 1rem; border-top: 1px solid #ccc; }
p { max-width: 46rem; }
figure { margin: 1.6rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption, caption { color: #444; font-size: 0.95rem; max-width: 46rem; text-align: left;
                      margin-top: 0.5rem; }
table { border-collapse: collapse; margin: 1.6rem 0; }
caption { caption-side: bottom; }
th, td { padding: 0.3rem 1.1rem 0.3rem 0; text-align: right; border-bottom: 1px solid #e3e3e3;
         font-variant-numeric: tabular-nums; }
th { border-bottom: 2px solid #888; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; }
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


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """Return a table.

    Parameters
    ----------
    header : sequence of str
        The columns, with units.
    rows : sequence of sequences
        The cells, one for each column; numbers as they are to be shown.
    caption : str
        What the table says, below it.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    ValueError
        A row with more or fewer cells than the header.

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
    lines = [_cells("th", header), *(_cells("td", row) for row in rows)]
    if caption:
        lines.insert(0, f"<caption>{html.escape(caption)}</caption>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _cells(tag: str, values: Iterable[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(str(v))}</{tag}>' for v in values)}</tr>"


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
    >>> block[:40]
    '<figure><img alt="an empty figure" src="'
    """
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"png must hold a PNG image: it starts with {png[:8]!r}.")
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img alt="{html.escape(description)}" src="data:image/png;base64,{data}">'
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
    return "\n".join([head, *blocks, "</body>\n</html>\n"])


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

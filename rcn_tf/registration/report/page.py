"""Self-contained HTML pages: images embedded, nothing fetched from a network."""

from __future__ import annotations

import base64
import html

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1500px;
       padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
img { max-width: 100%; } p.note { color: #555; max-width: 60em; }
table { border-collapse: collapse; } td, th { padding: .2em .9em; text-align: right; }
td:first-child, th:first-child, td:nth-child(2), th:nth-child(2) { text-align: left; }
thead th { border-bottom: 2px solid #888; } tbody tr:nth-child(even) { background: #f4f4f4; }
.warning { background: #fff1d6; border-left: 4px solid #e0a000; padding: .5em 1em; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1em 1em; }
dt { color: #555; } dd { margin: 0; }
"""


def page(title: str, body: str) -> str:
    """A whole page as text. Args: title: plain text. body: HTML that follows the heading."""
    title = html.escape(title)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{title}</h1>{body}</body></html>\n"
    )


def image(png: bytes, title: str) -> str:
    """An embedded picture. Args: png: bytes. title: plain text, the alternative to the picture."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'

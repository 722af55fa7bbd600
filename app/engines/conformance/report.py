"""The findings and the pictures on one page, which needs nothing beside it."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from io import BytesIO

from app.engines import EngineInfo
from app.engines.conformance.checks import Finding, Shown

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; color: #222 }
table { border-collapse: collapse; width: 100% } td { padding: .3rem .6rem; vertical-align: top }
tr { border-top: 1px solid #ddd } .no { color: #b3261e } .yes { color: #1a7f37 }
img { height: 22rem }
"""

_MARKS = {True: '<td class="yes">holds', False: '<td class="no">does not', None: "<td>–"}


def sentence(name: str) -> str:
    return name.replace("_", " ")


def page(info: EngineInfo, found: Iterable[tuple[str, Finding]], shown: Iterable[Shown]) -> str:
    title = html.escape(f"{info.name} {info.version}: {info.title}")
    rows = "".join(
        f"<tr><td>{sentence(name)}</td>{_MARKS[one.ok]}</td><td>{html.escape(one.said)}</td></tr>"
        for name, one in found
    )
    pictures = "".join(
        f"<h2>{html.escape(one.title)}</h2><p>{_image(one.person)} {_image(one.garment)} "
        f"{_image(one.made) if one.made else html.escape(one.said)}</p>"
        for one in shown
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1><table>{rows}</table>{pictures}</html>"
    )


def _image(data: bytes) -> str:
    from PIL import Image  # noqa: PLC0415 - heavy, and the command line imports this

    file = BytesIO()
    with Image.open(BytesIO(data)) as image:
        small = image.convert("RGB")
    small.thumbnail((700, 700))
    small.save(file, "JPEG", quality=88)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}">'

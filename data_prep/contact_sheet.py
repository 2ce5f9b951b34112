"""Contact sheets of prepared scans: PNG pages, an HTML page, and a list of the flagged ones.

One tile per scan: its median axial, coronal and sagittal slices (superior and anterior up),
segmentations outlined, flags of `data_prep.quality` below. On the HTML page, which needs no
network, a click on a tile marks the scan, and the marked ones can be saved as an exclude list;
named in a dataset config (`"exclude": "exclude.txt"`) it keeps them out of every subset.
"""

from __future__ import annotations

import base64
import html
import io
import pathlib

import matplotlib.image
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_prep.config_files import make_folder
from data_prep.quality import flag_scans, measure
from rcn_tf.data.dataset_config import DatasetConfig
from rcn_tf.data.packs import Scan
from rcn_tf.data.scans import ScanStore
from rcn_tf.errors import one_line
from rcn_tf.files.whole_files import replacing, write_text
from rcn_tf.wording import counted

COLUMNS, ROWS = 5, 8
OUTLINE = np.array([254, 40, 40], np.uint8)
_BLANK = np.zeros((32, 96, 3), np.uint8)


def write_contact_sheets(
    config: DatasetConfig, out: str | pathlib.Path
) -> dict[str, dict[str, str]]:
    """Writes contact_sheet_NN.png, contact_sheet.html and flagged.txt.

    Args:
        config: DatasetConfig. out: folder, made if need be.
    Returns: {scan id: {flag: text}}; a scan that cannot be read has the flag "unreadable".
    Raises: ValueError: the config has no scan. OSError: something cannot be written.
    """
    out = pathlib.Path(out)
    make_folder(out)
    listed = [scan for scans in config.subsets.values() for scan in scans]
    scan_ids = list(dict.fromkeys([*filter(None, [config.atlas]), *listed]))
    if not listed:
        raise ValueError(f"{config.path} lists no scan.")
    strips, notes, measures, unreadable = {}, {}, [], {}
    with ScanStore(config, cache_bytes=0) as store:
        for scan_id in scan_ids:
            try:
                scan = store.read(scan_id)
            except (KeyError, ValueError, OSError) as error:
                unreadable[scan_id] = {"unreadable": one_line(error)}
                strips[scan_id], notes[scan_id] = _png(_BLANK), ""
                continue
            strips[scan_id] = _png(tile(scan))
            notes[scan_id] = str(scan.attributes.get("note", ""))
            measures.append(measure(scan_id, scan, config.image_type))
    judged = {**flag_scans(measures), **unreadable}
    flags = {scan_id: judged[scan_id] for scan_id in scan_ids}
    _write_pages(out, strips, flags)
    write_text(out / "contact_sheet.html", _html_page(config, strips, notes, flags))
    write_text(out / "flagged.txt", _exclude_list(flags))
    return flags


def tile(scan: Scan) -> np.ndarray:
    """Median slices side by side; a plane alone.

    Args: scan: rcn_tf.data.packs.Scan, array axes inferior-superior, anterior-posterior,
        right-left.
    Returns: uint8 [h, w, 3].
    """
    if scan.volume.ndim == 2:
        return _picture(scan.volume, scan.segmentation)
    pictures = []
    for axis, flips in ((0, ()), (1, (0,)), (2, (0,))):
        index = scan.volume.shape[axis] // 2
        arrays = (scan.volume, scan.segmentation)
        planes = (None if array is None else np.take(array, index, axis) for array in arrays)
        pictures.append(np.flip(_picture(*planes), flips))
    height = max(picture.shape[0] for picture in pictures)
    padded = [
        np.pad(picture, ((0, height - picture.shape[0]), (0, 2), (0, 0))) for picture in pictures
    ]
    return np.concatenate(padded, axis=1)


def _picture(plane, labels):
    """A plane in grey, the outlines of its labels in colour; uint8 [h, w, 3]."""
    picture = np.repeat(plane[..., None], 3, axis=-1)
    if labels is not None:
        outline = _outline(labels)
        picture[outline] = picture[outline] // 2 + OUTLINE // 2
    return picture


def _outline(labels):
    """Voxels whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, bool)
    edge[:-1] |= labels[:-1] != labels[1:]
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return edge


def _png(picture):
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, picture, format="png")
    return buffer.getvalue()


def _write_pages(out, strips, flags):
    for old in out.glob("contact_sheet_[0-9][0-9].png"):
        old.unlink()
    ids = list(strips)
    page = COLUMNS * ROWS
    for number, start in enumerate(range(0, len(ids), page), 1):
        shown = ids[start : start + page]
        rows = -(-len(shown) // COLUMNS)
        figure = Figure(figsize=(3.6 * COLUMNS, 1.65 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = np.atleast_1d(figure.subplots(rows, COLUMNS)).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, scan_id in zip(axes, shown):
            axis.imshow(matplotlib.image.imread(io.BytesIO(strips[scan_id])))
            text = ", ".join(flags[scan_id])
            axis.set_title(
                f"{scan_id}  {text}" if text else scan_id,
                fontsize=8,
                color="red" if text else "black",
                parse_math=False,
            )
        with replacing(out / f"contact_sheet_{number:02d}.png") as temporary:
            figure.savefig(temporary, dpi=100)


def _html_page(config, strips, notes, flags):
    tiles = []
    for scan_id, png in strips.items():
        found = "".join(
            f"<li><b>{html.escape(name)}</b>: {html.escape(text)}</li>"
            for name, text in flags[scan_id].items()
        )
        tiles.append(
            f'<figure data-id="{html.escape(scan_id)}" class="{"flagged" if found else ""}">'
            f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
            f"<figcaption>{html.escape(scan_id)} <small>{html.escape(notes[scan_id])}</small>"
            f"<ul>{found}</ul></figcaption></figure>"
        )
    flagged = sum(bool(one) for one in flags.values())
    return _PAGE.format(
        title=html.escape(config.path.name),
        count=counted(len(strips), "scan"),
        flagged=flagged,
        tiles="\n".join(tiles),
    )


def _exclude_list(flags):
    lines = ["# Flagged scans, in the form of an exclude list. Look at them before you use it."]
    for scan_id, found in flags.items():
        if found:
            reasons = "; ".join(f"{name}: {text}" for name, text in found.items())
            lines.append(f"{scan_id}  # {reasons}")
    return "\n".join(lines) + "\n"


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Contact sheet: {title}</title><style>
body {{ font: 14px/1.35 sans-serif; margin: 1.5em; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 10px; }}
figure {{ margin: 0; padding: 6px; border: 2px solid #ddd; border-radius: 6px; cursor: pointer; }}
figure.flagged {{ border-color: #e8a33d; }}
figure.out {{ border-color: #c00; background: #fdd; opacity: .65; }}
img {{ width: 100%; image-rendering: pixelated; background: #000; display: block; }}
ul {{ margin: 2px 0 0; padding-left: 1.2em; color: #a04000; }}
label, button {{ margin-right: 1em; }}
body.only figure:not(.flagged) {{ display: none; }}
</style></head><body>
<h1>Contact sheet: {title}</h1>
<p>{count}, {flagged} flagged. Click a scan to mark it, then save the list beside the
dataset config and name it there: <code>"exclude": "exclude.txt"</code>.</p>
<p><label><input type="checkbox" id="only"> flagged only</label>
<button id="save">Save exclude.txt</button><span id="marked">0 marked</span></p>
<main>
{tiles}
</main>
<script>
const marked = () => [...document.querySelectorAll("figure.out")].map(f => f.dataset.id);
document.querySelector("main").onclick = event => {{
  const figure = event.target.closest("figure");
  if (!figure) return;
  figure.classList.toggle("out");
  document.getElementById("marked").textContent = marked().length + " marked";
}};
document.getElementById("only").onchange = event =>
  document.body.classList.toggle("only", event.target.checked);
document.getElementById("save").onclick = () => {{
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([marked().join("\\n") + "\\n"]));
  link.download = "exclude.txt";
  link.click();
}};
</script></body></html>
"""

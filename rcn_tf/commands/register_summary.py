"""What `rcn register` prints of a result: numbers with their meaning, then the files."""

from rcn_tf.registration.outputs import OUTPUTS

_STAGES = {"before": "by header", "initial": "boxes aligned", "after": "registered"}
_OVERLAPS = ("dice", "jaccard")
_LEGEND = """\
by header: the moving image where its file puts it; boxes aligned: the box around its organ laid
over the fixed one's; {}. Correlation is that of the grey values over what both
images show, 1 where they are equal up to brightness and contrast, 0 where they are unrelated.
Agreement is that of small parts at low resolution, whatever their contrast: 1 where they show the
same, 0.1 to 0.4 where they are unrelated."""
_OVERLAP_LEGEND = " {} measure\nthe overlap of structures without the background, from 0 to 1."


def print_summary(metrics, out, replaced=False):
    """Prints the metrics of a registration as a table with a legend, and lists its files.

    Args: metrics: of `rcn_tf.registration.pair_metrics`, with seconds. out: the results' folder.
        replaced: whether it held an earlier result.
    """
    titles = {**_STAGES, "after": "written"} if metrics["fallback"] else _STAGES
    print(f"{'':<13}" + "".join(f"{title:>15}" for title in titles.values()))
    for name in ("correlation", "agreement"):
        print(f"{name:<13}{_row(metrics[name])}")
    for name in _OVERLAPS:
        if name in metrics:
            count = len(metrics[name]["structures"])
            structures = "1 structure" if count == 1 else f"mean of {count} structures"
            print(f"{name:<13}{_row(metrics[name]['mean'])}   {structures}")
    print(f"{'folding':<13}{metrics['folding_percent']:.3f} % of the volume")
    if "inverse_error_mm" in metrics:
        error = metrics["inverse_error_mm"]
        print(
            f"{'inverse':<13}a point there and back misses by {error['mean']:.2g} mm on average, "
            f"{error['max']:.2g} mm at most"
        )
    if "refinement" in metrics and not metrics["fallback"]:
        gain = metrics["refinement"]
        print(
            f"{'refinement':<13}loss {gain['loss_before']:.4f} to {gain['loss_after']:.4f} in "
            f"{gain['steps']} steps, {metrics['seconds']['refine']:.1f} s"
        )
    print(f"{'cost':<13}{_cost(metrics)}")
    if metrics.get("dicom_rounding"):
        print(f"{'DICOM':<13}16 bits; values differ by at most {metrics['dicom_rounding']:.3g}")
    print(_legend(metrics))
    print(f"\nresults in {out}{', in place of an earlier result' if replaced else ''}:")
    for name, meaning in OUTPUTS.items():
        if (out / name).exists():
            print(f"  {name:<28} {meaning}")
    print(
        "3D Slicer: add the fixed image, warped.nii.gz and (as a transform) transform.h5 with "
        "File > Add Data."
    )


def _row(stages):
    shown = ["undefined" if stages[k] is None else f"{stages[k]:.3f}" for k in _STAGES]
    return "".join(f"{text:>15}" for text in shown)


def _cost(metrics):
    seconds = metrics["seconds"]
    parts = [f"{step} {seconds[step]:.1f} s" for step in ("read", "write") if step in seconds]
    memory = metrics.get("peak_memory_mb")
    peak = f"; at most {memory:.0f} MB of memory" if memory else ""
    return f"{sum(seconds.values()):.1f} s ({', '.join(parts)}){peak}"


def _legend(metrics):
    overlaps = " and ".join(name.capitalize() for name in _OVERLAPS if name in metrics)
    last = "registered: the result"
    if metrics["fallback"]:
        last = "written: the better of the two, without deformation"
    return _LEGEND.format(last) + (_OVERLAP_LEGEND.format(overlaps) if overlaps else "")

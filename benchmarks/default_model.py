"""The default model on held-out subjects: alone, after the optimisation, and beside ANTs SyN.

    python benchmarks/default_model.py --data BRAINS --out FOLDER \
        --model present=rcn_tf/default_model --model new=build/default/model \
        [--methods alone default ants] [--pairs NAME ...]

BRAINS is a folder as `data_prep.default_study` describes it, with Colin27 (`colin27_t1_brain`,
`colin27_aal_labels`) beside it. All subjects of the pairs are held out from that study;
`data_prep.brain_study`, on which the model's first part is trained, has Colin27. "alone" is
the network's own result (`--refine 0 --force`), "default" the bare command with this model, "none"
the bare command without a model, "boxes" the boxes laid over each other, "ants" antspyx's preset
"SyN" with labels warped by its "genericLabel". Dice is the mean over `freesurfer.EVALUATED`, for
Colin27 over the 14 structures that both annotations tell. Every result is kept in FOLDER/dice.csv,
and the same call goes on where it stopped. Seconds are those of the registration in a running
process, without reading and writing.
"""

from __future__ import annotations

import argparse
import csv
import pathlib
import sys
import time

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # for `data_prep`

from data_prep import default_study, freesurfer
from data_prep.random_renderings import like
from rcn_tf.metrics import dice

METHODS = ("boxes", "alone", "default", "none", "ants")
SHARED = {  # AAL: FreeSurfer
    **{37: 17, 38: 53, 41: 18, 42: 54, 71: 11, 72: 50, 73: 12, 74: 51, 75: 13, 76: 52},
    **{77: 10, 78: 49},
    **{label: (47, 8)[label % 2] for label in range(91, 109)},
}
MERGED = {7: 8, 46: 47}  # the cerebellum's white matter, which AAL does not tell from its cortex

PAIRS = {  # name: (fixed, moving)
    "T1: a to 05": ("labelmap_05 t1", "subject_a"),
    "T1: 05 to a": ("subject_a", "labelmap_05 t1"),
    "T1: 10 to 05": ("labelmap_05 t1", "labelmap_10 t1"),
    "T1: Colin27 to a": ("subject_a", "colin27"),
    "T1: a to Colin27": ("colin27", "subject_a"),
    "contrast: 05 inverted to a": ("subject_a", "labelmap_05 inverted"),
    "contrast: 10 random to 05 T1": ("labelmap_05 t1", "labelmap_10 random"),
    "head: 10 to 05, T1": ("labelmap_05 head", "labelmap_10 head"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS[:3])
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    models = dict(text.split("=", 1) for text in args.model)
    table = Table(args.out / "dice.csv")
    for method in args.methods:
        for name in models if method in ("alone", "default") else [""]:
            for pair in args.pairs:
                if (pair, method, name) not in table.rows:
                    table.add(pair, method, name, *measured(pair, method, models.get(name), args))
    table.show()


class Table:
    """The rows of a CSV file, {(pair, method, model): (Dice, folding %, seconds, remark)}."""

    HEADINGS = ("pair", "method", "model", "dice", "folding_percent", "seconds", "remark")

    def __init__(self, path: pathlib.Path):
        self.path, self.rows = path, {}
        if path.exists():
            with path.open(newline="") as file:
                self.rows = {tuple(row[:3]): row[3:] for row in list(csv.reader(file))[1:]}

    def add(self, pair, method, model, score, folding, seconds, remark):
        row = [f"{score:.4f}", f"{folding:.4f}", f"{seconds:.1f}", remark]
        self.rows[pair, method, model] = row
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(self.HEADINGS)
            writer.writerow([pair, method, model, *row])
        print(pair, method, model, *row, flush=True)

    def show(self):
        """Prints Dice, pairs as rows and methods as columns."""
        columns = list(dict.fromkeys(key[1:] for key in self.rows))
        print("| pair |", " | ".join(" ".join(filter(None, column)) for column in columns), "|")
        print(f"|{'---|' * (len(columns) + 1)}")
        for pair in PAIRS:
            cells = [self.rows.get((pair, *column), [""])[0] for column in columns]
            print(f"| {pair} | {' | '.join(cells)} |")


def measured(pair, method, model, args):
    """(Dice, folding %, seconds, remark) of one registration."""
    fixed, moving = (subject(name, args.data) for name in PAIRS[pair])
    if "colin27" in PAIRS[pair]:
        fixed, moving = (
            (image, like(labels, merged(labels, name)))
            for (image, labels), name in zip((fixed, moving), PAIRS[pair])
        )
    if method == "ants":
        return syn(fixed, moving)
    from rcn_tf import register_images  # which loads TensorFlow

    options = {
        "boxes": {"model": "none", "start": "boxes", "transform_type": "rigid"},
        "alone": {"model": model, "refine_steps": 0, "force": True},
        "default": {"model": model},
        "none": {"model": "none"},
    }[method]
    begin = time.perf_counter()
    result = register_images(
        fixed[0],
        moving[0],
        **options,
        fixed_labels=fixed[1] if method == "boxes" else None,  # which measures all stages
        moving_labels=moving[1],
        inverse=False,
    )
    seconds = time.perf_counter() - begin
    metrics, shown = result.metrics, sitk.GetArrayFromImage(result.warped_labels)
    remark = f"network {metrics['seconds'].get('network', 0):.2f} s"
    if "optimisation" in metrics:
        remark += f", from {metrics['optimisation']['start']}"
    if method == "boxes":
        return metrics["dice"]["mean"]["initial"], 0.0, seconds, ""
    score = mean_dice(sitk.GetArrayFromImage(fixed[1]), shown)
    return score, metrics["folding_percent"], seconds, remark


def syn(fixed, moving):
    """As `measured`, by ANTs SyN."""
    import ants

    images = [_for_ants(ants, image) for image, _ in (fixed, moving)]
    begin = time.perf_counter()
    done = ants.registration(*images, type_of_transform="SyN", random_seed=1)
    seconds = time.perf_counter() - begin
    labels = _for_ants(ants, moving[1])
    warped = ants.apply_transforms(
        images[0], labels, done["fwdtransforms"], interpolator="genericLabel"
    )
    field = ants.create_jacobian_determinant_image(images[0], done["fwdtransforms"][0])
    shown = np.rint(warped.numpy()).astype(int).T
    folding = 100 * float((field.numpy() <= 0).mean())
    return mean_dice(sitk.GetArrayFromImage(fixed[1]), shown), folding, seconds, ""


def mean_dice(fixed, warped):
    """Mean Dice over the structures of the fixed label map."""
    return float(np.nanmean(dice(fixed.astype(int), warped.astype(int))))


def subject(name: str, folder: pathlib.Path) -> tuple[sitk.Image, sitk.Image]:
    """(image, labels) of a name in PAIRS, LPS axes; labels of `freesurfer.EVALUATED` or AAL."""
    if name == "colin27":
        files = "colin27_t1_brain", "colin27_aal_labels"
        return tuple(_read(folder / f"{file}.nii.gz") for file in files)
    if name == "subject_a":
        image, labels = (_read(folder / f"subject_a_{file}.nii.gz") for file in ("t1", "labels"))
        return image, like(labels, freesurfer.evaluated_structures(_array(labels)))
    label_map, kind = name.split()
    rng = np.random.default_rng([7, *name.encode()])
    labels = default_study.source_labels(folder / f"{label_map}.nii.gz", kind == "head")
    contrast = "random" if kind == "random" else "t1"
    image, labels = default_study.rendering(labels, contrast, rng, deformed=False)
    if kind == "inverted":
        array = _array(image)
        image = like(image, np.where(array > 0, 255 - array, 0).astype(np.uint8))
    return image, like(labels, freesurfer.evaluated_structures(_array(labels)))


def merged(labels, name):
    """Array of the structures that AAL and FreeSurfer have in common, by FreeSurfer's ids."""
    array = _array(labels)
    if name == "colin27":
        return freesurfer.relabel(array, SHARED)
    kept = {label: MERGED.get(label, label) for label in (*SHARED.values(), *MERGED)}
    return freesurfer.relabel(array, kept)


def _read(path):
    return sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")


def _array(image):
    return np.rint(sitk.GetArrayFromImage(image)).astype(np.int64)


def _for_ants(ants, image):
    return ants.from_numpy(
        sitk.GetArrayFromImage(image).T.astype(np.float32),
        origin=image.GetOrigin(),
        spacing=image.GetSpacing(),
        direction=np.reshape(image.GetDirection(), (3, 3)),
    )


if __name__ == "__main__":
    main()

"""The mini study of RWCNet: brains with labels and lungs with key points, without GPU.

    oasis.json   the brains of `eval.seven_brains` that have labels (two subjects to train on,
                 three to test), all ordered pairs of them, 48 x 48 x 48 voxels
    nlst.json    one lung, moved by known fields of 10 to 25 mm (`data_prep.lung_motion`), with
                 corner-like points: training on the first scan of the patient, tests on the scan
                 taken at another time; pairs in both directions, 48 x 48 x 32 voxels

The moving scan of a pair of lungs is the patient's, slightly deformed at random, the fixed one that
after a known breath; the points are found in the fixed scan.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import SimpleITK as sitk

from data_prep import batch, freesurfer, lung_motion
from data_prep.brain_study import SUBJECTS
from data_prep.key_points import corner_points
from data_prep.prepared_scan import PreparedScan
from data_prep.scan_files import ScanFiles
from data_prep.source_scan import grid_attributes, read_scan
from eval import seven_brains
from eval.mini_study import files_of, scan_id
from rcn_tf.data.grey_values import to_grey
from rcn_tf.files.json_files import write_json_if_new
from rcn_tf.presets import PRESETS
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.preparation.network_input import prepare_labels, prepare_volume
from rcn_tf.volumes.sampling import inside

BRAIN_SHAPE, LUNG_SHAPE = (48, 48, 48), (48, 48, 32)
SEED = 0
RENDERINGS = 6  # of a training subject's brain, besides the undeformed scan
WINDOW = (-1000.0, 400.0)  # Hounsfield units
LUNGS = {"train": "baseline", "test": "followup"}
DISTANCES = (10.0, 25.0)  # mm
PAIRS = {"train": 24, "test": 5}  # of different fields, each in both directions
POINTS = 200
MILD = 5.0  # mm, of the deformation of moving scans

# Differences from the presets' training, for minutes on two cores: narrow networks, few iterations,
# a larger learning rate and few steps, of two pairs and of more patches each, since with one pair
# the distances of points hardly fell or grew again. The second resolution is one patch. The
# objectives are those of the presets, and so are the trained parts of each phase.
ITERATIONS = (8, 6, 3)
PATCHES = (0.25, 0.5, 0.5)
STEPS = {"oasis": (150, 50, 30), "nlst": (300, 100, 50)}
PATCHES_PER_STEP = 4
TRAINING = (
    "network.features=8",
    "network.hidden=16",
    "network.dropout=0.0",
    "optimizer.learning_rate=5e-4",
    "optimizer.clip_norm=1.0",
    "batch_size=2",
    "recompute=false",
    "seed=1",
    "validation.scheme=none",
    "images_every=100000",
    "checkpoint_every=50",
    "keep_checkpoints=1",
    "log_every=25",
)


def training(spec: Any) -> tuple[str, ...]:
    """Settings of a model's training. Args: spec: eval.models.ModelSpec."""
    values = PRESETS[spec.preset].values
    stages = [
        {**stage, "patch": patch, "iterations": min(stage["iterations"], iterations)}
        for stage, patch, iterations in zip(values["network"]["stages"], PATCHES, ITERATIONS)
    ]
    phases = [
        {**_more_patches(phase), "steps": steps}
        for phase, steps in zip(values["phases"], STEPS[spec.study])
    ]
    return (*TRAINING, f"network.stages={json.dumps(stages)}", f"phases={json.dumps(phases)}")


def _more_patches(phase):
    """A phase of a preset, with more patches per step if it has patches at all."""
    options = dict(phase["options"])
    if "patches_per_step" in options:
        options["patches_per_step"] = PATCHES_PER_STEP
    return {**phase, "options": options}


def build_brains(
    scans: str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    workers: int = 1,
    progress: Callable[[Any], Any] | None = None,
) -> None:
    """Builds the brains' packs and their dataset config, except those that are finished.

    Args, Raises: as `eval.mini_study.build`.
    """
    scans, out = pathlib.Path(scans), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    recipe, subsets = seven_brains.recipe(BRAIN_SHAPE), {}
    for part, training_part in (("train", True), ("test", False)):
        numbers = range(RENDERINGS + 1) if training_part else [0]
        files = [
            ScanFiles(scan_id(subject.name, number), *files_of(subject, scans))
            for subject in SUBJECTS
            if subject.train == training_part and subject.labels  # the loss needs them
            for number in numbers
        ]
        subsets[part] = _pack(files, recipe, out, f"oasis_{part}", workers, progress)
    values = {
        "image_size": list(BRAIN_SHAPE),
        "image_type": "brain",
        "segmentation_class_value": {str(label): label for label in freesurfer.EVALUATED},
    }
    _write_config(out, "oasis", subsets, values)


def build_lungs(
    scans: str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    workers: int = 1,
    progress: Callable[[Any], Any] | None = None,
) -> None:
    """Builds the lungs' packs and their dataset config, except those that are finished.

    Args: as `build_brains`. Raises: FileNotFoundError: naming the file that is missing.
    """
    scans, out = pathlib.Path(scans), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    subsets = {}
    for part, name in LUNGS.items():
        image, mask = (scans / f"{name}{ending}.mha" for ending in ("", "_mask"))
        for path in (image, mask):
            if not path.is_file():
                raise FileNotFoundError(f"the mini study needs {path.name}, which {scans} lacks.")
        files = [
            MovedLung(f"{part}_{number:03d}_{role}", image, mask=mask, number=number, role=role)
            for number in range(PAIRS[part])
            for role in ("fixed", "moving")
        ]
        recipe = LungRecipe(LUNG_SHAPE, PAIRS[part], SEED)
        subsets[part] = _pack(files, recipe, out, f"nlst_{part}", workers, progress)
    values = {
        "image_size": list(LUNG_SHAPE),
        "image_type": "lung",
        "segmentation_class_value": {"lung": 1},
        "paired": True,
    }
    _write_config(out, "nlst", subsets, values)


@dataclasses.dataclass(frozen=True)
class MovedLung(ScanFiles):
    """A scan of a pair. number: of the pair, from 0. role: "fixed" or "moving"."""

    number: int = 0
    role: str = "fixed"


@dataclasses.dataclass(frozen=True)
class LungRecipe:
    """A scan of a pair of lungs, with the points that both show.

    shape: (D, H, W). pairs: in the pack; their distances are spread over DISTANCES.
    seed: of everything random.
    """

    shape: tuple
    pairs: int
    seed: int = 0

    def distance(self, number: int) -> float:
        """Size of a pair's motion, mm."""
        share = number / max(self.pairs - 1, 1)
        return DISTANCES[0] + share * (DISTANCES[1] - DISTANCES[0])

    def __call__(self, files: MovedLung, timer: Any) -> PreparedScan:
        """Prepares one scan. Args: MovedLung, StepTimer. Returns: PreparedScan."""
        with timer.step("read"):
            image, found, _ = read_scan(files)
            mask: Any = found
        with timer.step("render"):
            place = sorted(LUNGS.values()).index(pathlib.Path(str(files.image)).stem)
            rng = np.random.default_rng([self.seed, place, files.number])
            moving, fixed, points = lung_pair(image, mask, self.distance(files.number), rng)
            array, shown = fixed if files.role == "fixed" else moving
        with timer.step("resample"):
            render, region = _like(array, image), _like(shown.astype(np.uint8), image)
            whole = [[0, size] for size in array.shape]
            prepared = prepare_volume(
                render, self.shape, mask=mask, box=whole, window=WINDOW, name=files.id
            )
            labels = prepare_labels(region, prepared.grid)
            points = prepared.grid.point_to_index(Grid.from_image(image).index_to_point(points))
            in_both = inside(self.shape, points).all(axis=0)
            points = points[int(files.role == "moving"), in_both]
        attributes = {
            **grid_attributes(prepared, files.image),
            "distance": self.distance(files.number),
        }
        return PreparedScan(to_grey(prepared.array), labels, points, attributes)


def lung_pair(
    image: sitk.Image,
    mask: sitk.Image,
    distance: float,
    rng: np.random.Generator,
    *,
    pull: float = 1.0,
) -> tuple[Any, Any, np.ndarray]:
    """A lung before and after a known breath (`data_prep.lung_motion.breathing`).

    Args: image, mask: of one grid. distance: mm. rng: decides everything random. pull: as there.
    Returns: (moving image, its mask), (fixed image, its mask), [D, H, W] each, and the points
        [2, n, 3] in voxels, in the fixed image and in the moving one.
    """
    array, shown = (sitk.GetArrayFromImage(one) for one in (image, mask))
    spacing, array = np.array(image.GetSpacing())[::-1], np.maximum(array, WINDOW[0])
    mild = lung_motion.breathing(shown, spacing, MILD, rng)
    array, shown = lung_motion.warped(array, mild), lung_motion.warped(shown, mild, order=0)
    field = lung_motion.breathing(shown, spacing, distance, rng, pull=pull)
    fixed = lung_motion.breathed(array, shown, field, rng)
    fixed_shown = lung_motion.warped(shown, field, order=0)
    points = corner_points(fixed, fixed_shown, POINTS, spacing=spacing)
    points = np.stack([points, points + field[tuple(points.T)]]).astype(np.float64)
    return (array, shown), (fixed, fixed_shown), points


def _like(array, image):
    made = sitk.GetImageFromArray(array)
    made.CopyInformation(image)
    return made


def _pack(files, recipe, out, name, workers, progress):
    """Builds a pack. Returns: its scans as a dataset config names them."""
    options = {"strict": True, "workers": workers, "progress": progress}
    summary = batch.build_pack(files, recipe, out / f"{name}.h5", **options)
    return [f"{name}/{scan}" for scan in summary.prepared]


def _write_config(out, study, subsets, values):
    names = [f"{study}_{part}" for part in subsets]
    config = {
        "files": {name: {"path": f"{name}.h5"} for name in names},
        **values,
        "schemes": {"1": {"train": 1.0}},
        "subsets": {"train": subsets["train"], "val": subsets["test"]},
    }
    write_json_if_new(out / f"{study}.json", config)

"""Builds the brain study on which the embedded default model is trained.

    python -m data_prep.brain_study --data FOLDER --out FOLDER --shape 64 64 64 --renderings 24

The folder holds six brains (see SUBJECTS): label maps of four real subjects, from which
T1-like images are drawn, and three or more real T1 scans without skull. Every scan, drawn or
real, goes through the preprocessing of `rcn register`: crop box from the image's foreground,
resampling, percentile normalisation. Training subjects appear undeformed and in N random
renderings (spatial map, left-right flip, contrast or intensity jitter, crop-box jitter);
held-out subjects once, undeformed.

Writes train.h5, test.h5 and brain_study.json (scheme "1": train, "2": test; all ordered pairs).
Segmentations hold `freesurfer.EVALUATED`; scans without comparable labels have none.
"""

import argparse
import dataclasses
import functools
import multiprocessing
import pathlib
import time
from typing import Optional

import numpy as np
import SimpleITK as sitk

from data_prep import freesurfer, spatial_maps, synthesis
from data_prep.packs import PackWriter, to_uint8
from rcn_tf.files import write_json
from rcn_tf.volumes.grids import Grid
from rcn_tf.volumes.images import read_image
from rcn_tf.volumes.preprocessing import (
    foreground_box,
    foreground_mask,
    prepare_labels,
    prepare_volume,
)

BOX_JITTER = 0.06  # largest random margin of a training crop box, fraction of the extent
PADDING = 16  # voxels of background kept around the head


@dataclasses.dataclass(frozen=True)
class Subject:
    """Files of a subject: a T1 image, a label map, or both; `train` or held out."""

    name: str
    train: bool
    image: Optional[str] = None
    labels: Optional[str] = None


SUBJECTS = (
    Subject("labelmap_01", True, labels="labelmap_01.nii.gz"),
    Subject("labelmap_02", True, labels="labelmap_02.nii.gz"),
    Subject("colin27", True, image="colin27_t1_brain.nii.gz"),
    Subject("mni152", True, image="mni152_t1.nii.gz"),
    Subject("labelmap_05", False, labels="labelmap_05.nii.gz"),
    Subject("labelmap_10", False, labels="labelmap_10.nii.gz"),
    Subject("subject_a", False, "subject_a_t1.nii.gz", "subject_a_labels.nii.gz"),
)


@dataclasses.dataclass(frozen=True)
class _Job:
    """One scan to make: rendering 0 is the undeformed one."""

    subject: Subject
    rendering: int
    folder: str
    shape: tuple
    seed: int

    @property
    def scan_id(self):
        return f"{self.subject.name}_{self.rendering:03d}"


def build(data, out, *, shape, renderings, seed=0, workers=2, progress=None):
    """Builds the study.

    Args:
        data, out: folders. shape: (D, H, W). renderings: per training subject, besides the
        undeformed scan. seed: of everything random. workers: processes.
        progress: called with each finished scan's id.
    Returns: path of the dataset config.
    """
    data, out = pathlib.Path(data), pathlib.Path(out)
    for subject in SUBJECTS:
        for name in filter(None, (subject.image, subject.labels)):
            if not (data / name).is_file():
                raise FileNotFoundError(f"Folder {data} has no {name}.")
    out.mkdir(parents=True, exist_ok=True)
    subsets = {}
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=_single_threaded) as pool:
        for subset, train in (("train", True), ("test", False)):
            jobs = [
                _Job(subject, rendering, str(data), tuple(shape), seed)
                for subject in SUBJECTS
                if subject.train == train
                for rendering in range(renderings + 1 if train else 1)
            ]
            with PackWriter(out / f"{subset}.h5", {"seed": seed}) as pack:
                for scan_id, arrays in pool.imap(_make, jobs):
                    pack.add(scan_id, **arrays)
                    if progress:
                        progress(scan_id)
            subsets[subset] = [f"{subset}/{job.scan_id}" for job in jobs]
    config = {
        "files": {name: {"path": f"{name}.h5", "type": "HDF5"} for name in subsets},
        "image_size": list(shape),
        "image_type": "brain",  # without an atlas: all ordered pairs of a subset
        "segmentation_class_value": {str(label): label for label in freesurfer.EVALUATED},
        "schemes": {"1": {"train": 1.0}, "2": {"test": 1.0}},
        "subsets": subsets,
    }
    path = out / "brain_study.json"
    write_json(path, config)
    return path


def _make(job):
    """Makes one scan: its id and the arguments of `PackWriter.add`."""
    number = SUBJECTS.index(job.subject)
    rng = np.random.default_rng([job.seed, number, job.rendering])
    image, labels = _load(job.subject, job.folder)
    if job.rendering:
        image, labels = _random_rendering(image, labels, rng)
    elif image is None:
        rendered = synthesis.strip_outer_csf(sitk.GetArrayViewFromImage(labels), rim=2)
        image = _like(labels, synthesis.render(rendered, rng, spacing=labels.GetSpacing()[0]))
    box = _jittered_box(image, rng) if job.rendering else None
    prepared = prepare_volume(image, job.shape, box=box, name=job.scan_id)
    segmentation = None
    if labels is not None:
        segmentation = freesurfer.evaluated_structures(prepare_labels(labels, prepared.grid))
    source = ", ".join(filter(None, (job.subject.image, job.subject.labels)))
    attributes = {
        **prepared.grid.to_attributes(),
        "crop_box": np.asarray(prepared.box),
        "source": source,
        "rendering": job.rendering,
    }
    volume = to_uint8(prepared.array)
    arrays = {"volume": volume, "segmentation": segmentation, "attributes": attributes}
    return job.scan_id, arrays


@functools.lru_cache(maxsize=2)
def _load(subject, folder):
    """(image or None, brain labels or None), oriented to LPS, cut to the brain's box."""
    folder = pathlib.Path(folder)
    image = labels = None
    if subject.image:
        image = sitk.DICOMOrient(read_image(folder / subject.image), "LPS")
    if subject.labels:
        raw = sitk.DICOMOrient(read_image(folder / subject.labels), "LPS")
        brain = freesurfer.brain_only(sitk.GetArrayViewFromImage(raw))
        labels = _like(raw, brain)
    if image is None:
        _, box = synthesis.without_neck(brain)
        labels = labels[tuple(box[::-1])]  # SimpleITK indexes x, y, z
    if subject.train and image is not None:  # tight box, so that maps centre on the brain
        (box,) = [foreground_box(foreground_mask(sitk.GetArrayViewFromImage(image)), 0)]
        image = image[tuple(slice(int(lo), int(hi)) for lo, hi in box[::-1])]
    pad = [PADDING if subject.train or image is None else 0] * 3
    image = image and sitk.ConstantPad(image, pad, pad, 0)
    labels = labels and sitk.ConstantPad(labels, pad, pad, 0)
    return image, labels


def _random_rendering(image, labels, rng):
    """Deformed image and labels on a grid of their own (1.5 mm, origin at the centre)."""
    source = image or labels
    spacing = source.GetSpacing()[::-1]
    indices = spatial_maps.random_spatial_map(source.GetSize()[::-1], spacing, rng, margin=0.02)
    flip = rng.random() < 0.5
    array = new_labels = None
    if labels is not None:
        array = spatial_maps.sample(sitk.GetArrayViewFromImage(labels), indices, order=0)
        if flip:
            array = freesurfer.mirrored_ids(array)[:, :, ::-1]
        new_labels = _centred(array)
    if image is None:
        rendered = synthesis.strip_outer_csf(array, rim=int(rng.integers(1, 4)))
        drawn = synthesis.render(rendered, rng, spacing=1.5)
    else:
        moved = spatial_maps.sample(sitk.GetArrayViewFromImage(image), indices, order=1)
        drawn = synthesis.jitter_image(moved[:, :, ::-1] if flip else moved, rng)
    return _centred(drawn), new_labels


def _jittered_box(image, rng):
    """Crop box of the foreground with a random margin on each of the six sides."""
    array = sitk.GetArrayViewFromImage(image)
    box = foreground_box(foreground_mask(array), margin=0)
    extent = box[:, 1] - box[:, 0]
    box[:, 0] -= rng.uniform(0, BOX_JITTER, 3) * extent
    box[:, 1] += rng.uniform(0, BOX_JITTER, 3) * extent
    return np.clip(box, 0, np.asarray(array.shape)[:, None])


def _centred(array, spacing=1.5):
    origin = -(np.asarray(array.shape) - 1) / 2 * spacing
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * spacing
    affine[:3, 3] = origin[::-1]
    return Grid(array.shape, affine).to_image(np.ascontiguousarray(array))


def _like(image, array):
    result = sitk.GetImageFromArray(np.ascontiguousarray(array))
    result.CopyInformation(image)
    return result


def _single_threaded():
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.brain_study", description=__doc__)
    parser.add_argument("--data", required=True, help="folder with the scans and label maps")
    parser.add_argument("--out", required=True, help="folder for the packs and the config")
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 64, 64), metavar="N")
    parser.add_argument("--renderings", type=int, default=24, help="per training subject")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    start = time.perf_counter()
    path = build(
        args.data,
        args.out,
        shape=args.shape,
        renderings=args.renderings,
        seed=args.seed,
        workers=args.workers,
        progress=lambda scan_id: print(f"{time.perf_counter() - start:7.1f} s  {scan_id}"),
    )
    print(path)


if __name__ == "__main__":
    main()

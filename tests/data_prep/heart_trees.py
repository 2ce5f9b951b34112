"""Small hearts: a beating ring of myocardium beside a right ventricle, in ACDC's folders."""

import pathlib

import numpy as np
import SimpleITK as sitk

SHAPE, SPACING = (6, 50, 56), (10.0, 1.5, 1.25)  # z, y, x
CENTRE = (24.0, 30.0)  # of the left ventricle in a slice, voxels (y, x)
FRAMES = 5  # of the film; ED is the first, ES the third


def frame(number, centre=CENTRE):
    """(image, labels) of a frame, [D, H, W]; slice 0 shows the right ventricle alone at ES."""
    contraction = 1 - 0.35 * np.sin(np.pi * number / 4)
    z, y, x = np.indices(SHAPE).astype(float)
    radius = np.hypot((y - centre[0]) * SPACING[1], (x - centre[1]) * SPACING[2])
    beside = np.hypot((y - centre[0]) * SPACING[1], (x - centre[1] + 13) * SPACING[2])
    taper = 1 - 0.07 * z
    labels = np.zeros(SHAPE, np.uint8)
    labels[beside < 9 * contraction * taper] = 1
    labels[radius < (8 + 6 * contraction) * taper] = 2
    labels[radius < 9 * contraction * taper] = 3
    if number == 2:
        labels[0][labels[0] > 1] = 0
    image = np.array([90.0, 420.0, 160.0, 400.0])[labels] + 20 * np.cos(0.5 * x + 0.3 * y)
    return image.astype(np.int16), labels


def as_image(array, spacing=SPACING):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    return image


def write_patient(folder, name, *, labels=True, film=True, info=True, es=3, centre=CENTRE):
    """Writes a patient as ACDC has it; returns its folder."""
    place = pathlib.Path(folder, name)
    place.mkdir(parents=True)
    if info:
        text = f"ED: 1\nES: {es}\nGroup: NOR\nHeight: 170.0\nNbFrame: {FRAMES}\nWeight: 70.0\n"
        (place / "Info.cfg").write_text(text)
    frames = [frame(k, centre) for k in range(FRAMES)]
    for number in (1, 3):
        stem = place / f"{name}_frame{number:02d}"
        sitk.WriteImage(as_image(frames[number - 1][0]), f"{stem}.nii.gz")
        if labels:
            sitk.WriteImage(as_image(frames[number - 1][1]), f"{stem}_gt.nii.gz")
    if film:
        series = sitk.JoinSeries([as_image(image) for image, _ in frames])
        sitk.WriteImage(series, str(place / f"{name}_4d.nii.gz"))
    return place


def write_pair(folder, name, *, suffix="_labels"):
    """Writes NAME_ED, NAME_ES and their labels."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    for key, number in (("ED", 0), ("ES", 2)):
        image, labels = frame(number)
        sitk.WriteImage(as_image(image), str(pathlib.Path(folder, f"{name}_{key}.nii.gz")))
        if suffix is not None:
            path = pathlib.Path(folder, f"{name}_{key}{suffix}.nii.gz")
            sitk.WriteImage(as_image(labels), str(path))

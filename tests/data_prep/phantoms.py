"""An abdomen of ellipsoids in Hounsfield units, with air, fat, muscle, spine, kidneys, spleen."""

import numpy as np
import SimpleITK as sitk

SIZE, SPACING = (72, 60, 56), (5.0, 5.0, 5.0)  # x, y, z
LIVER = ((-70.0, -20.0, 40.0), (75.0, 65.0, 70.0))  # centre and half axes, mm, LPS


def small_abdomen():
    """The same in a body of 144 mm, for tests that do not depend on sizes."""
    image, labels = abdomen()
    for one in (image, labels):
        one.SetSpacing((2.0, 2.0, 2.0))
    return image, labels


def abdomen(liver_hu=55.0, noise=8.0, seed=0):
    """CT and label map (1 liver, 2 spleen, 3 kidneys), LPS axes, centred at the origin."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(SIZE, SPACING)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")

    def ellipsoid(centre, half):
        parts = [((u - c) / h) ** 2 for u, c, h in zip((x, y, z), centre, half)]
        return sum(parts) < 1

    array = np.full(x.shape, -1000.0)
    cylinder = (x / 165) ** 2 + (y / 120) ** 2 < 1
    array[cylinder] = -90  # fat
    inner = (x / 155) ** 2 + (y / 110) ** 2 < 1
    array[inner & ~((x / 145) ** 2 + (y / 100) ** 2 < 1)] = 50  # muscle of the wall
    array[(x / 12) ** 2 + ((y + 112) / 6) ** 2 < 1] = -1000  # a fold of skin
    array[(y > 150) & (np.abs(x) < 150) & (y < 160)] = 100  # the table
    labels = np.zeros(x.shape, np.uint8)
    organs = (
        (1, LIVER, liver_hu),
        (2, ((100.0, 20.0, 50.0), (30.0, 35.0, 45.0)), liver_hu + 5),
        (3, ((-75.0, 60.0, -60.0), (25.0, 25.0, 45.0)), liver_hu + 20),
        (3, ((75.0, 60.0, -60.0), (25.0, 25.0, 45.0)), liver_hu + 20),
    )
    for label, (centre, half), value in organs:
        organ = ellipsoid(centre, half)
        array[organ], labels[organ] = value, label
    array[(x / 25) ** 2 + ((y - 70) / 25) ** 2 < 1] = 400  # spine
    labels[(x / 25) ** 2 + ((y - 70) / 25) ** 2 < 1] = 0
    array += np.random.default_rng(seed).normal(0, noise, array.shape)
    return _image(array.astype(np.int16)), _image(labels)


def _image(array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin([-(n - 1) / 2 * step for n, step in zip(SIZE, SPACING)])
    return image

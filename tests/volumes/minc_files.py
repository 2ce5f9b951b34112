"""MINC files written attribute by attribute, for tests of what their dimensions mean."""

import h5py
import numpy as np
from scipy.io import netcdf_file

LENGTHS = {"xspace": 6, "yspace": 5, "zspace": 4}
START = {"xspace": 10.0, "yspace": -20.0, "zspace": 30.0}
STEP = {"xspace": 1.0, "yspace": 2.0, "zspace": 3.0}
ORDER = ("zspace", "yspace", "xspace")


def voxels(order=ORDER):
    shape = [LENGTHS[name] for name in order]
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def write_minc2(path, *, order=ORDER, step=STEP, start=START, cosines=None, **attributes):
    """A MINC 2 file. Args: cosines: {dimension: 3 numbers}; attributes: of all dimensions."""
    array = voxels(order)
    group = {"varid": b"MINC standard variable", "vartype": b"group________"}
    with h5py.File(path, "w") as file:
        root = file.create_group("minc-2.0")
        root.create_group("info")
        dimensions, image = root.create_group("dimensions"), root.create_group("image/0")
        for name in order:
            one = dimensions.create_dataset(name, data=np.int32(0))
            texts = {**group, "class": b"spatial", "spacing": b"regular__", "units": b"mm"}
            texts = {**texts, "alignment": b"centre", "version": b"MINC Version    2.0"}
            for key, text in {**texts, **attributes}.items():
                one.attrs[key] = np.bytes_(text)
            one.attrs["length"] = np.int32(LENGTHS[name])
            one.attrs["step"], one.attrs["start"] = step[name], start[name]
            default = np.eye(3)["xyz".index(name[0])]
            one.attrs["direction_cosines"] = np.array((cosines or {}).get(name, default), float)
        data = image.create_dataset("image", data=array)
        data.attrs["dimorder"] = np.bytes_(",".join(order))
        data.attrs["valid_range"] = np.array([0.0, array.max()])
        for key, value in (("image-min", 0.0), ("image-max", float(array.max()))):
            image.create_dataset(key, data=value).attrs["dimorder"] = np.bytes_("")
    return path


def write_minc1(path, *, order=ORDER, step=STEP, start=START):
    """A MINC 1 file, which is netCDF."""
    array = voxels(order)
    with netcdf_file(path, "w") as file:
        for name in order:
            file.createDimension(name, LENGTHS[name])
        for name in order:
            one = file.createVariable(name, "i", ())
            one.start, one.step, one.units = start[name], step[name], "mm"
            one.spacing = "regular__"
        image = file.createVariable("image", "h", order)
        image[:] = array
        image.valid_range, image.signtype = np.array([0.0, array.max()]), "signed__"
        file.createVariable("image-min", "d", ())[...] = 0.0
        file.createVariable("image-max", "d", ())[...] = float(array.max())
    return path

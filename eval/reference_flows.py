"""Reference flows for the supervised networks (VTN, Tables II and VI), as the paper by ANTs."""

import h5py

from rcn_tf.data.packs import volume_checksum
from rcn_tf.data.pairs import scheme_pairs
from rcn_tf.data.reference_flows import write_reference_flow


def make_flows(data, study, scheme, register, say):
    """Registers all training pairs of a study's scheme.

    Pairs that the file already holds are left alone, so a run that was stopped goes on; a flow
    of other scans or by another method is made anew.

    Args:
        data: DataFolder. register: (fixed, moving) -> flow, of `eval.baselines`.
        say: called with a line of text per pair.
    Returns: path of the HDF5 file, beside the dataset config.
    Raises: MissingExtraError: no antspyx. KeyError: no such scheme.
    """
    path = data.path / f"{study}_{scheme}_flows.h5"
    store = data.store(study)
    pairs = [pair for group, _ in scheme_pairs(store.config, scheme) for pair in group]
    with h5py.File(path, "a") as file:
        for number, (fixed, moving) in enumerate(pairs, 1):
            volumes = [store.read(scan).volume for scan in (fixed, moving)]
            source = " ".join([register.__qualname__, *map(volume_checksum, volumes)])
            name = f"{fixed} <- {moving}"
            if name in file and file[name].attrs.get("source") == source:
                continue
            write_reference_flow(file, fixed, moving, register(*volumes))
            file[name].attrs["source"] = source
            file.flush()
            say(f"reference flow {number} of {len(pairs)}: {name}")
    return path

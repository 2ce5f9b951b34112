"""Registration of many pairs of files by one call, resumable."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rcn_tf.choices import NO_MODEL
from rcn_tf.registration.pair_index import write_overview
from rcn_tf.registration.pair_record import model_files_checksum
from rcn_tf.registration.pair_runs import PairOutcome, check_places, run_pairs
from rcn_tf.registration.pairs_file import FILES, Pair, as_pairs, read_pairs


def register_pairs(
    pairs: str | pathlib.Path | Iterable[Pair | Mapping[str, Any]],
    out: str | pathlib.Path,
    model: Any = None,
    *,
    subset: str | None = None,
    fields: bool = True,
    **options: Any,
) -> Iterator[PairOutcome]:
    """Registers many pairs, each into a folder of its own, as `rcn register --pairs` does.

        for outcome in rcn_tf.register_pairs("pairs.csv", "results"):
            print(outcome.pair.name, outcome.status, outcome.error)

    Pairs that a call with the same files and options has made are skipped. `summary.csv` and
    `index.html` in `out` are written anew after each pair.

    Args:
        pairs: a table or a dataset of Learn2Reg (`rcn_tf.registration.pairs_file`), or
            dictionaries {"fixed": path, "moving": path, "name": text, ...} with its columns.
        out: folder of the results' folders.
        model: as of `rcn_tf.register_images`.
        subset: list of pairs of a dataset.
        fields: whether to write the displacement fields, the largest files.
        options: of `rcn_tf.register_images`, the same for all pairs.
    Returns: iterator of PairOutcome, in the order of the pairs; a pair is registered when its
        outcome is asked for. A pair that fails has the status "failed" and the error as text.
    Raises: FileNotFoundError, ValueError: before any work: naming the line of a fault.
    """
    given = sorted(set(options) & set(FILES))
    if given:
        raise ValueError(f"{', '.join(given)}: every pair names its own, in `pairs`")
    if isinstance(pairs, (str, pathlib.Path)):
        chosen = read_pairs(pairs, subset)
    else:
        chosen = as_pairs(pairs)
    out = pathlib.Path(out)
    check_places(chosen, out)
    registration = _Registration(model, fields, options)
    settings = {**options, "fields": fields, **registration.identity()}
    return run_pairs(chosen, out, registration, settings, write_overview, prepare=registration.load)


class _Registration:
    """Function of (pair, folder) that registers the pair's files into the folder."""

    def __init__(self, model, fields, options):
        self._model, self._fields, self._options = model, fields, options

    def identity(self):
        """{name: text} of what else the results depend on."""
        from rcn_tf import __version__

        folder = self._model is None or isinstance(self._model, (str, pathlib.Path))
        checksum = model_files_checksum if folder else _weights_checksum
        return {"model": checksum(self._model), "rcn_tf": __version__}

    def load(self):
        from rcn_tf.models.folder import DEFAULT_MODEL, load_model

        if self._model == NO_MODEL:
            return
        if self._model is None or isinstance(self._model, (str, pathlib.Path)):
            self._model = load_model(self._model or DEFAULT_MODEL)

    def __call__(self, pair, folder):
        from rcn_tf.registration.images import register_images
        from rcn_tf.volumes.formats.images import read_image

        images = {role: read_image(path, planes=True) for role, path in pair.files().items()}
        result = register_images(
            images.pop("fixed"), images.pop("moving"), self._model, **images, **self._options
        )
        facts = {"fixed image": pair.fixed.name, "moving image": pair.moving.name}
        result.save(folder, facts=facts, fields=self._fields)


def _weights_checksum(model):
    """SHA-256 of a model's class, arguments and weights."""
    digest = hashlib.sha256(type(model).__qualname__.encode())
    named = getattr(model, "named_weights", dict)()
    for name, weight in sorted(named.items()):
        digest.update(name.encode())
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()

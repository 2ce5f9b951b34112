"""Which scans are registered with which, and in which order training sees them.

A subset of n scans gives a sequence of pairs (fixed id, moving id):
with an atlas, (atlas, scan) for every scan but the atlas; with `paired`, scans 2k and 2k + 1 in
both directions; with `fixed`, (fixed scan, other scan) within each group; with `pairing`, pairs of
one subject or of two, all or a number that is drawn; else all n (n - 1) ordered pairs of different
scans.

`TrainingOrder` is a pure function of (seed, draw number): a run that stops and resumes at any
step sees exactly the pairs that an uninterrupted one would have seen.
"""

from __future__ import annotations

import collections
import collections.abc
import functools
import itertools
from collections.abc import Sequence

import numpy as np

from rcn_tf.data.config_checks import group_of, subject_of
from rcn_tf.data.dataset_config import DatasetConfig

_DRAWN = 0  # seed of the pairs that `pair_counts` draws
_BLOCK = 1000  # draws within which subsets get their exact share


class OrderedPairs(collections.abc.Sequence):
    """All ordered pairs of different scans; computed, not stored."""

    def __init__(self, scans: Sequence[str]):
        self._scans = tuple(scans)

    def __len__(self):
        return len(self._scans) * (len(self._scans) - 1)

    def __getitem__(self, index):
        fixed, moving = divmod(range(len(self))[index], len(self._scans) - 1)
        return self._scans[fixed], self._scans[moving + (moving >= fixed)]


def subset_pairs(config: DatasetConfig, subset: str) -> Sequence[tuple[str, str]]:
    """Pairs of a subset.

    Args:
        config: DatasetConfig. subset: name.
    Returns: sequence of (fixed id, moving id).
    Raises: KeyError: no such subset. ValueError: it gives no pair.
    """
    scans = config.subset(subset)
    pairs: Sequence[tuple[str, str]]
    if config.atlas is not None:
        pairs = [(config.atlas, scan) for scan in scans if scan != config.atlas]
    elif config.is_paired(subset):
        if len(scans) % 2:
            raise ValueError(
                f"{config.path}: `paired` needs an even number of scans; "
                f"subset {subset!r} has {len(scans)}."
            )
        pairs = _both_ways(zip(scans[::2], scans[1::2]))
    elif config.pairing is not None:
        find = _of_one_subject if config.pairing == "same_subject" else _of_two_subjects
        pairs = _both_ways(find(scans, config.pair_counts.get(subset)))
    elif config.fixed is not None:
        pairs = _pairs_within_groups(config, subset, scans)
    else:
        pairs = OrderedPairs(scans)
    if not len(pairs):
        raise ValueError(f"{config.path}: subset {subset!r} has too few scans to form a pair.")
    return pairs


def _both_ways(couples):
    return [pair for a, b in couples for pair in ((a, b), (b, a))]


def _of_one_subject(scans, number):
    """Pairs of scans of one group; of more than `number` so many, drawn."""
    groups: dict[str, list[str]] = {}
    for scan in scans:
        groups.setdefault(group_of(scan), []).append(scan)
    found = [pair for group in groups.values() for pair in itertools.combinations(group, 2)]
    if number is None or number >= len(found):
        return found
    chosen = np.random.default_rng(_DRAWN).permutation(len(found))[:number]
    return [found[k] for k in sorted(chosen)]


def _of_two_subjects(scans, number):
    """Pairs of scans of different subjects; with a number so many, drawn where there are more."""
    subjects = [subject_of(scan) for scan in scans]
    sizes = collections.Counter(subjects).values()
    there = (len(scans) ** 2 - sum(size**2 for size in sizes)) // 2
    if number is None or number >= there:
        couples = itertools.combinations(range(len(scans)), 2)
        return [(scans[a], scans[b]) for a, b in couples if subjects[a] != subjects[b]]
    rng, found = np.random.default_rng(_DRAWN), {}
    while len(found) < number:  # pairs are too many to list
        first, second = sorted(rng.integers(len(scans), size=2).tolist())
        if subjects[first] != subjects[second]:
            found[first, second] = scans[first], scans[second]
    return list(found.values())


def _pairs_within_groups(config, subset, scans):
    """(fixed, other) of every group. Raises: ValueError: a group has no fixed scan, or no other."""
    groups: dict[str, list[str]] = {}
    for scan in scans:
        groups.setdefault(group_of(scan), []).append(scan)
    pairs = []
    for group, members in groups.items():
        fixed = f"{group}_{config.fixed}"
        where = f"{config.path}: subset {subset!r} has {members[0]!r}"
        if fixed not in members:
            raise ValueError(f"{where} without {fixed!r}, the fixed image of its pairs (`fixed`).")
        if len(members) == 1:
            raise ValueError(f"{where} without another scan {group + '_...'!r} to pair it with.")
        pairs += [(fixed, scan) for scan in members if scan != fixed]
    return pairs


def scheme_pairs(
    config: DatasetConfig, scheme: str
) -> list[tuple[Sequence[tuple[str, str]], float]]:
    """[(pairs, share)] of the scheme's subsets. Raises: as `subset_pairs`."""
    shares = config.scheme(scheme)
    return [(subset_pairs(config, subset), share) for subset, share in shares.items()]


class TrainingOrder:
    """Endless shuffled sequence of pairs.

    Each subset is walked through in a fresh permutation per epoch, so that every pair is seen
    once before any is seen again. With several subsets, each gets its share of every 1000
    draws (to the nearest whole number), in random order.

    Args: groups: [(sequence of pairs, share)]; seed: non-negative integer.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[tuple[str, str]], float]], seed: int):
        self._groups = [pairs for pairs, _ in groups]
        self._seed = seed
        shares = np.array([share for _, share in groups], np.float64)
        ends = np.rint(np.cumsum(shares) / shares.sum() * _BLOCK).astype(int)
        self._counts = np.diff(ends, prepend=0)
        self._permutation = functools.lru_cache(maxsize=2 * len(groups))(self._permute)
        self._schedule = functools.lru_cache(maxsize=4)(self._arrange)

    def __getitem__(self, draw):
        """Pair (fixed id, moving id) number `draw`, from 0."""
        if len(self._groups) == 1:
            group, position = 0, draw
        else:
            block, offset = divmod(draw, _BLOCK)
            order = self._schedule(block)
            group = int(order[offset])
            before = int(np.count_nonzero(order[:offset] == group))
            position = block * int(self._counts[group]) + before
        pairs = self._groups[group]
        epoch, index = divmod(position, len(pairs))
        return pairs[int(self._permutation(group, epoch)[index])]

    def _permute(self, group, epoch):
        rng = np.random.default_rng([self._seed, 1, group, epoch])
        return rng.permutation(len(self._groups[group]))

    def _arrange(self, block):
        rng = np.random.default_rng([self._seed, 0, block])
        return rng.permutation(np.repeat(np.arange(len(self._groups)), self._counts))

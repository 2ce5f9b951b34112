"""Seven brains, four to train on and three to test, from which small studies draw renderings.

They are those of `data_prep.brain_study`: real T1 scans, and label maps of real subjects.
"""

from __future__ import annotations

from data_prep.brain_study import SUBJECTS
from eval.mini_study import SEED, MiniRecipe

TRAIN = tuple(subject.name for subject in SUBJECTS if subject.train)
TEST = ("subject_a", "labelmap_05", "labelmap_10")


def recipe(shape: tuple[int, ...]) -> MiniRecipe:
    """Makes renderings of a shape (D, H, W)."""
    return MiniRecipe(shape, SEED, SUBJECTS)

"""Which start an optimisation goes on from, and what it records."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf import choices
from rcn_tf.registration.agreement import Comparison
from rcn_tf.registration.optimisation.effort import EFFORTS, Effort
from rcn_tf.registration.optimisation.optimise import linear_start
from rcn_tf.registration.optimisation.search import Settings, search
from rcn_tf.registration.optimisation.similarities import AUTO, SIMILARITIES
from rcn_tf.registration.optimisation.starts import MIN_OVERLAP, Starts
from rcn_tf.registration.steps import Steps
from rcn_tf.volumes import Grid, prepare_volume
from tests.registration.optimisation.scenes import inner_points, pair

SHIFT = np.array([6.0, -4.0, 3.0])


@pytest.fixture
def volumes(monkeypatch):
    monkeypatch.setitem(EFFORTS, "fast", Effort(15_000, (5,)))
    images = pair(lambda points: points + SHIFT)
    return [prepare_volume(image, (32, 32, 32)) for image in images]


def shifted(volumes, shift):
    affine = np.eye(4)
    affine[:3, 3] = shift
    return linear_start(volumes[0].grid, affine)


def found(volumes, candidates, aligns=True, **settings):
    comparison = Comparison(*volumes, Grid.from_image(volumes[1].standard))
    steps = Steps()
    chosen = Settings("fast", **settings)
    result = search(*volumes, candidates, comparison, chosen, steps, aligns=aligns)
    return result, steps.seconds


def mean_error(transform):
    points = inner_points()
    return np.linalg.norm(transform.transform_points(points) - points - SHIFT, axis=1).mean()


def test_a_good_network_is_the_start_where_no_affine_map_is_wanted(volumes):
    candidates = {"header": shifted(volumes, 0), "network": shifted(volumes, SHIFT)}
    result, seconds = found(volumes, candidates, aligns=False)
    assert result.record["start"] == "network"
    assert set(seconds) == {"optimise"}
    assert mean_error(result.transforms["optimised"]) < 0.5
    assert result.transforms["network"] is candidates["network"].transform


@pytest.mark.slow
def test_a_bad_network_does_no_harm(volumes):
    candidates = {"header": shifted(volumes, 0), "network": shifted(volumes, -2 * SHIFT)}
    result, seconds = found(volumes, candidates)
    assert result.record["start"] == "affine"
    assert set(seconds) == {"align", "optimise"}
    assert mean_error(result.transforms["optimised"]) < 1.5
    fits = result.record["candidates"]
    assert fits["network"] < fits["header"] < fits["affine"]
    json.dumps(result.record)


def test_a_rigid_transform_is_one(volumes):
    candidates = {"header": shifted(volumes, 0)}
    result, seconds = found(volumes, candidates, transform_type="rigid")
    assert set(seconds) == {"align"}
    (transform,) = result.transforms.values()
    assert not transform.flow.any()
    linear = transform.moving_grid.affine[:3, :3] @ np.linalg.inv(
        transform.fixed_grid.affine[:3, :3]
    )
    np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-4)
    assert mean_error(transform) < 0.5


def other_grey_values(image):
    """Some tissues of the scene darker than others that they were brighter than."""
    array = sitk.GetArrayFromImage(image)
    changed = sitk.GetImageFromArray(
        array.max() * np.abs(np.sin(3.0 * np.pi * array / array.max()))
    )
    changed.CopyInformation(image)
    return changed


@pytest.mark.parametrize(
    ("change", "expected"), [(lambda image: image, "local_ncc"), (other_grey_values, "mind_ssc")]
)
def test_the_contrasts_choose_the_similarity(monkeypatch, change, expected):
    monkeypatch.setitem(EFFORTS, "fast", Effort(15_000, (5,)))
    fixed, moving = pair(lambda points: points + SHIFT)
    volumes = [prepare_volume(image, (32, 32, 32)) for image in (fixed, change(moving))]
    result, _ = found(volumes, {"header": shifted(volumes, 0)}, transform_type="rigid")
    assert result.record["similarity"] == expected
    assert result.record["contrasts_differ"] == (expected == "mind_ssc")
    assert mean_error(result.transforms["rigid"]) < 3  # of 7.8 mm
    result, _ = found(volumes, {"initial": shifted(volumes, SHIFT)}, aligns=False)
    assert result.record["similarity"] == expected
    result, _ = found(volumes, {"header": shifted(volumes, 0)}, similarity="mse", aligns=False)
    assert (result.record["similarity"], result.record["contrasts_differ"]) == ("mse", False)


def test_a_start_that_leaves_the_field_of_view_is_not_chosen(volumes):
    candidates = {"header": shifted(volumes, SHIFT), "network": shifted(volumes, [70, 0, 0])}
    comparison = Comparison(*volumes, Grid.from_image(volumes[1].standard))
    starts = Starts(*volumes, candidates, comparison, Steps())
    fits = starts.fits
    assert fits["network"].overlap < MIN_OVERLAP * fits["header"].overlap
    fits["network"] = fits["network"]._replace(agreement=1.0)
    assert starts.best() == "header"
    fits["network"] = fits["network"]._replace(overlap=1.0)
    assert starts.best() == "network"


def test_choices_are_those_that_there_are():
    assert tuple(EFFORTS) == choices.EFFORTS
    assert (AUTO, *SIMILARITIES) == choices.SIMILARITIES
    for name in ("effort", "similarity", "transform_type"):
        with pytest.raises(ValueError, match=f"`{name}` must be one of .*; got 'nothing'"):
            Settings(**{name: "nothing"})

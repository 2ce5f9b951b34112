"""Figures and page: colours of the flow, marks of folding, and no external content."""

import base64
import re

import numpy as np
import pytest

from rcn_tf.registration.pair import register_pair
from rcn_tf.registration.report import figures as fig
from rcn_tf.registration.report import render_report, write_report
from rcn_tf.registration.report.planes import PLANES
from tests.registration.test_pair import SHAPE, KnownNetwork, blob, blob_labels


@pytest.fixture(scope="module")
def result():
    flow = np.zeros((*SHAPE, 3), np.float32)
    flow[:, :, SHAPE[2] // 2 :, 2] = -2  # along x only; folds where it starts
    return register_pair(KnownNetwork(flow), {}, blob(), blob(), force=True)


@pytest.fixture(scope="module")
def views(result):
    return fig.make_views(result)


def panels(figure):
    """The arrays that are drawn, [row][column]."""
    drawn = [axes.images for axes in figure.axes if axes.get_subplotspec() is not None]
    columns = len(drawn) // len(PLANES)
    return [drawn[k : k + columns] for k in range(0, len(drawn), columns)]


def test_flow_colours_are_white_for_none_and_lack_red_along_x(views):
    # |x| reduces red: channel k is 1 - |d_k| / largest.
    (_, (colours,), _), *_ = panels(fig.deformation_figure(views))
    picture = np.asarray(colours.get_array())
    np.testing.assert_array_equal(picture[5, 2], [1, 1, 1])
    np.testing.assert_allclose(picture[5, -3], [0, 1, 1], atol=1e-6)


def test_folding_is_marked(views):
    (_, _, (determinant, folds)), *_ = panels(fig.deformation_figure(views))
    values, marks = np.asarray(determinant.get_array()), np.asarray(folds.get_array())
    assert (values <= 0).any()
    np.testing.assert_array_equal(marks[..., 3] > 0, values <= 0)


def test_a_failed_registration_looks_like_one():
    """Each difference is fitted separately, so equal images show none beside a bad result."""
    flow = np.zeros((*SHAPE, 3), np.float32)
    flow[..., 0] = 9
    failed = register_pair(KnownNetwork(flow), {}, blob(), blob() * 3 + 5, force=True)
    shown = panels(fig.overview_figure(fig.make_views(failed)))[0]
    initial, after = (np.asarray(column[0].get_array()) for column in shown[-2:])
    assert np.abs(initial).max() < 0.02
    assert np.abs(after).max() > 0.5


def test_checkerboard_of_equal_images_is_the_image(views):
    board = panels(fig.checkerboard_figure(views))[1][1][0]
    expected = views.images["fixed"].slice(PLANES[1])
    np.testing.assert_allclose(board.get_array(), expected, atol=0.01)  # windows differ a little
    moved = panels(fig.checkerboard_figure(views))[0][2][0]
    assert np.abs(moved.get_array() - views.images["fixed"].slice(PLANES[0])).max() > 0.2


def test_page_is_self_contained(result, views):
    metrics = {**result.metrics, "peak_memory_mb": 12.0}
    page = render_report(views, b"\x89PNG", metrics, {"fixed image": "<a & b>.nii"})
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 3
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for data in pictures)
    assert len(re.findall(r"(?:src|href)=", page)) == 3
    assert "http" not in re.sub(r"base64,[^\"]+", "", page)
    assert "&lt;a &amp; b&gt;.nii" in page
    assert page.count("Warning:") == len(metrics["warnings"]) >= 1
    assert "peak memory 12 MB" in page


def test_files(result, views, tmp_path):
    write_report(views, result.metrics, {}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["overview.png", "report.html"]
    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")


def test_labels_have_one_colour_each_and_the_background_none():
    ids = np.array([[0, 3], [4, 3]])
    colours = fig._label_colours(ids)
    assert colours[0, 0, 3] == 0
    assert (colours[0, 1] == colours[1, 1]).all()
    assert (colours[0, 1, :3] != colours[1, 0, :3]).any()
    assert colours[1, 0, 3] == fig.LABEL_OPACITY


def test_labels_are_shown_where_there_are_any(result):
    flow = np.zeros((*SHAPE, 3), np.float32)
    labels = blob_labels()
    labelled = register_pair(
        KnownNetwork(flow), {}, blob(), blob(), fixed_labels=labels, moving_labels=labels
    )
    views = fig.make_views(labelled)
    assert list(views.labels) == ["fixed", "after"]
    np.testing.assert_array_equal(views.labels["fixed"].array, views.labels["after"].array)
    assert len(fig.labels_figure(views).axes) == 6
    assert "<h2>Labels</h2>" in render_report(views, b"", labelled.metrics, {})
    assert not fig.make_views(result).labels

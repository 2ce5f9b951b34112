"""Intensity windows, on scans of known values."""

import numpy as np
import pytest
import SimpleITK as sitk

from data_prep.intensity_range import scan_range, suggested_window, window_effect
from rcn_tf.commands.main import main


def ct(shape=(20, 24, 22)):
    """Air at -1000, tissue from -100 to 300, and a padded rim at -3024."""
    scan = np.full(shape, -1000.0)
    scan[5:15, 4:20, 3:19] = np.linspace(-100, 300, 10 * 16 * 16).reshape(10, 16, 16)
    scan[:2] = scan[-2:] = -3024
    return scan


def test_padding_does_not_count(tmp_path):
    found = scan_range(tmp_path / "a.nii", ct())
    assert found.padding == -3024
    assert (found.least, found.most) == (-3024, 300)
    assert found.outer[0] == -1000
    assert 295 < found.outer[1] <= 300
    low, high = suggested_window([found])
    assert -1100 <= low <= -1000
    assert 295 < high <= 400


@pytest.mark.parametrize(("top", "window"), [(1.0, (0, 1)), (255.0, (0, 255)), (200.0, (0, 255))])
def test_scaled_scans_keep_their_range(tmp_path, rng, top, window):
    scan = np.rint(255 * rng.uniform(size=(6, 7, 8))) / 255 * top
    scan[3, 3, 3] = top
    assert suggested_window([scan_range(tmp_path / "a", scan)]) == window


def test_a_wide_window_leaves_few_levels():
    scan = ct()
    published = window_effect(scan, -4000, 16000)
    assert published.too_wide
    assert (published.below, published.above) == (0, 0)
    low, high = np.percentile(scan[scan != -3024], [5, 95])
    assert published.levels == pytest.approx(255 * (high - low) / 20000)
    fitting = window_effect(scan, -1000, 200)
    assert not fitting.too_wide
    tissue = scan[(scan > -1000)]
    inside = (scan != -3024).sum()
    assert fitting.above == pytest.approx((tissue > 200).sum() / inside)


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        scan_range(tmp_path / "a.nii", np.array([[[np.nan]]]))


def test_command(tmp_path, capsys):
    for k in range(3):
        image = sitk.GetImageFromArray((ct() + 10 * k * (ct() > -1000)).astype("float32"))
        sitk.WriteImage(image, str(tmp_path / f"scan_{k}.nii.gz"))
    assert main(["prepare", "range", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "scan_2.nii.gz" in printed
    assert "suggested: --window -1" in printed
    assert main(["prepare", "range", str(tmp_path), "--window", "-4000", "16000"]) == 0
    assert "choose a narrower window" in capsys.readouterr().out
    assert main(["prepare", "range", str(tmp_path / "none")]) == 2
    assert "no such file or folder" in capsys.readouterr().err

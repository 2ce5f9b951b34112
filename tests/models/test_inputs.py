"""One clear line for unusable inputs; Keras' global policies have no influence."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from rcn_tf import RecursiveCascade, registration_losses
from rcn_tf.errors import InputWarning
from rcn_tf.export.saved_model import export_model
from rcn_tf.keras_api import keras
from tests.known_networks import gentle_waves

SHAPE = (32, 34, 36)
small = functools.partial(RecursiveCascade, gentle_waves, 1, SHAPE, affine_channels=2)


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture
def image(rng):
    return rng.random((1, *SHAPE, 1), dtype=np.float32)


BAD_ARGUMENTS = [
    ({"volume_shape": 32}, r"`volume_shape` must be three sizes \(D, H, W\) or two .*; got 32\."),
    ({"volume_shape": "128"}, "got '128'"),
    ({"volume_shape": (32.5, 32, 32)}, r"got \(32\.5, 32, 32\)"),
    ({"volume_shape": (32,)}, r"got \(32,\)"),
    ({"volume_shape": (32, 31, 32)}, "at least 32"),
    ({"channels": 0}, "`channels` must be a whole number of at least 1; got 0"),
    ({"affine_channels": 2.5}, "`affine_channels` must be a whole number .* got 2.5"),
    ({"n_cascades": "2"}, "`n_cascades` must be a whole number of at least 0; got '2'"),
    ({"n_cascades": True}, "got True"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecursiveCascade("vtn", **{"n_cascades": 1, **arguments})


def test_pairs(model, image):
    two = np.repeat(image, 2, axis=0)
    for pair, kind, message in [
        ((image, two), ValueError, "same batch size; got 1 and 2"),
        ((image, image[..., 0]), ValueError, r"`moving` must have shape \[B, 32, 34, 36, 1\]"),
        (("fixed.nii.gz", image), TypeError, "`fixed` must hold real numbers; got str"),
        ((image, None), TypeError, "`moving` must hold real numbers; got object"),
        ((image.astype(np.complex64), image), TypeError, "real numbers; got complex64"),
        ((image * np.nan, image), ValueError, "`fixed` has NaN or infinite values"),
    ]:
        with pytest.raises(kind, match=message):
            model(*pair)
    for repeats in (0, 1.5, "2"):
        with pytest.raises(ValueError, match="`n_repeats` must be a whole number of at least 1"):
            model(image, image, n_repeats=repeats)


def test_values_out_of_range_are_named(model, image):
    with pytest.warns(InputWarning, match=r"`moving` has values from 0 to 2\d\d; networks expect"):
        model(image, np.rint(image * 255).astype(np.uint8))
    model(image, image * 1.009)  # within rounding errors
    traced = tf.function(lambda fixed, moving: model(fixed, moving).flow)
    assert traced(image, image).shape == (1, *SHAPE, 3)  # no values to check


def test_any_real_type_is_taken(model, image):
    image = np.rint(image * 16) / np.float32(16)  # exact in all of them
    expected = model(image, image).warped
    for kind in (tf.float64, tf.float16, tf.bfloat16):
        np.testing.assert_array_equal(model(tf.cast(image, kind), image).warped, expected)
    np.testing.assert_array_equal(model(image.astype(np.float64), image).warped, expected)


def test_losses(model, image):
    output = model(image, image)
    for fixed in (np.repeat(image, 2, axis=0), image[:, :16], image[..., 0]):
        with pytest.raises(ValueError, match=r"must have the warped image's shape \(1, 32, 34, 36"):
            registration_losses(output, fixed)
    with pytest.raises(ValueError, match="must map parts to terms; got 'dense'"):
        registration_losses(output, image, "dense")


def test_an_output_is_shown_in_one_line(model, image):
    assert repr(model(image, image)) == (
        "RegistrationOutput(flow=[1, 32, 34, 36, 3], stages: affine, dense_1)"
    )
    assert repr(model(image, image).stages[0]) == (
        "StageOutput(affine, affine, flow=[1, 32, 34, 36, 3])"
    )


def test_global_policies_do_not_matter(image):
    tf.random.set_seed(1)
    expected = small()(image, image)
    before = keras.mixed_precision.global_policy()
    try:
        for policy in ("mixed_bfloat16", "float64"):
            keras.mixed_precision.set_global_policy(policy)
            tf.random.set_seed(1)
            found = small()(image, image)
            assert found.flow.dtype == tf.float32
            np.testing.assert_array_equal(found.flow, expected.flow)
    finally:
        keras.mixed_precision.set_global_policy(before)


@pytest.mark.parametrize("name", ["fit", "evaluate", "predict", "train_on_batch"])
def test_keras_own_loops_name_what_to_use(model, image, name):
    with pytest.raises(NotImplementedError, match=r"call model\(fixed, moving\), train with"):
        getattr(model, name)([image, image], image)
    with pytest.raises(NotImplementedError, match=r"save_model\(model, folder\)"):
        model.save("model.keras")


@pytest.mark.slow
def test_an_export_names_the_shapes(model, tmp_path):
    export_model(model, tmp_path / "export", config={})
    register = tf.saved_model.load(str(tmp_path / "export")).signatures["register"]
    good, other = tf.zeros((1, *SHAPE, 1)), tf.zeros((1, 32, 34, 40, 1))
    for pair, message in [
        ((other, other), r"\[1,32,34,40,1\] is not compatible with .* \[\?,32,34,36,1\]"),
        ((good, tf.zeros((2, *SHAPE, 1))), "must have the same batch size"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            register(fixed=pair[0], moving=pair[1])

"""The one place that decides which Keras the project uses.

The networks are written against the Keras 2 API: `tf.keras` of TensorFlow 2.15, or the
`tf_keras` package that carries the same API on newer TensorFlow releases (where
`tf.keras` has become Keras 3). Every other module says
`from rcn_tf.keras_api import keras`.
"""

import tensorflow as tf

try:
    import tf_keras as keras
except ModuleNotFoundError:
    keras = tf.keras

if getattr(keras, "__version__", "2").startswith("3"):
    raise ImportError(
        f"rcn_tf needs the Keras 2 API but TensorFlow {tf.__version__} brings Keras "
        f"{keras.__version__}: install the `tf_keras` release that matches TensorFlow."
    )

__all__ = ["keras"]

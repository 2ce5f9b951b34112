"""Checkpoints like those of the original's training: TensorFlow 1's Saver, Adam's slots, args."""

import json

import numpy as np
import tensorflow as tf

import rcn_tf

SHAPE = (32, 36, 40)
V1 = tf.compat.v1

ARGS = {  # every option of the original's command, in its format
    "base_network": "VTN",
    "n_cascades": 1,
    "rep": 1,
    "gpu": "0",
    "checkpoint": None,
    "dataset": "datasets/liver.json",
    "batch": 4,
    "round": 20000,
    "epochs": 5.0,
    "fast_reconstruction": False,
    "debug": False,
    "val_steps": 100,
    "net_args": "",
    "data_args": "",
    "lr": 0.0001,
    "clear_steps": False,
    "finetune": None,
    "name": None,
    "logs": "",
}


def small_weights(base="vtn", n_cascades=1, seed=3):
    """{name: array} of a narrow network for volumes of SHAPE."""
    model = rcn_tf.RecursiveCascade(base, n_cascades, SHAPE, channels=2, affine_channels=2)
    rng = np.random.default_rng(seed)
    return {
        name: (0.1 * rng.standard_normal(tuple(variable.shape))).astype("float32")
        for name, variable in model.reference_weights().items()
    }


def write_checkpoint(folder, weights, steps=(100000,), args=ARGS, dtype="float32"):
    """Writes `model-STEP.…`, `checkpoint` and `args.json`; step s has the weights times s / last.

    args: None leaves `args.json` out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph = tf.Graph()
    with graph.as_default(), V1.Session(graph=graph) as session:
        variables = {
            name: V1.get_variable(name, value.shape, dtype, V1.zeros_initializer())
            for name, value in weights.items()
        }
        for name, value in weights.items():
            for slot in ("Adam", "Adam_1"):
                V1.get_variable(f"{name}/{slot}", value.shape, initializer=V1.ones_initializer())
        V1.get_variable("beta1_power", initializer=0.9)
        V1.get_variable("beta2_power", initializer=0.999)
        V1.get_variable("is_training", initializer=False, trainable=False)
        V1.get_variable("global_step", initializer=np.int64(7), trainable=False)
        session.run(V1.global_variables_initializer())
        saver = V1.train.Saver(max_to_keep=5)
        for step in steps:
            for name, variable in variables.items():
                value = weights[name] * (step / steps[-1])
                session.run(variable.initializer, {variable.initial_value: value})
            saver.save(session, str(folder / "model"), global_step=step, write_meta_graph=False)
    (folder / "checkpoint").write_text('model_checkpoint_path: "/home/else/weights/model-1"\n')
    if args is not None:
        (folder / "args.json").write_text(json.dumps(args))
    return folder

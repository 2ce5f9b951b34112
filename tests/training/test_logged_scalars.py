"""A model's own numbers are logged beside the loss terms, whatever the model."""

import json

import pytest
import tensorflow as tf

from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.loop import train
from tests.contract.small_models import PlanarShift
from tests.training.study import write_planes


class Watched(PlanarShift):
    """A model that declares its second shift along the rows as worth watching."""

    def logged_scalars(self):
        return {"shift/rows": float(self.second[0])}


@pytest.mark.slow
def test_numbers_are_those_of_the_line_s_step(tmp_path):
    config = TrainingConfig.from_dict(
        {
            "model": f"{__name__}:Watched",
            "data": {"config": str(write_planes(tmp_path))},
            "loss": {"final": {"mse": 1.0}},
            "optimizer": {"learning_rate": 0.1},
            "batch_size": 1,
            "augment": False,
            "recompute": False,
            "steps": 3,
            "halve_at": [],
            "log_every": 1,
            "images_every": 10,
            "checkpoint_every": 10,
        }
    )
    shown = []
    train(config, tmp_path / "run", on_log=lambda _, values: shown.append(values))
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    values = [line["model/shift/rows"] for line in lines]
    assert values == [line["model/shift/rows"] for line in shown]
    assert values[0] != values[1] != values[2]
    assert values[0] == pytest.approx(0.25, abs=0.11)  # Adam's first step is the learning rate
    events = {}
    for path in (tmp_path / "run" / "logs").iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.tag == "model/shift/rows":
                    events[event.step] = float(tf.make_ndarray(value.tensor))
    assert list(events) == [1, 2, 3]
    assert list(events.values()) == pytest.approx(values)

"""Training end to end on a tiny pack: resuming, stopping, divergence, and the files."""

import json
import shutil

import h5py
import numpy as np
import pytest
import tensorflow as tf

from rcn_tf.data.reference_flows import write_reference_flow
from rcn_tf.keras_api import keras
from rcn_tf.models.folder import load_with_config
from rcn_tf.networks import BASES
from rcn_tf.training.config import TrainingConfig, load_training_config
from rcn_tf.training.loop import TrainingDivergedError, train
from rcn_tf.training.records import Records
from tests.training.study import SHAPE, losses_of, run_training, write_study


class Exploding(keras.Model):
    """A model of one weight; its flow is NaN if the moving image is white at the corner."""

    def __init__(self, *, channels, flow_multiplier, init, name):
        super().__init__(name=name)
        del channels, flow_multiplier, init

    def build(self, _shape):
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")

    def call(self, fixed, moving):
        bad = moving[:, :1, :1, :1] > 0.9
        flow = tf.where(bad, np.nan, 0.1 * tf.ones_like(fixed))
        return self.scale * flow * tf.ones((1, 1, 1, 1, 3))


class NotDifferentiable(Exploding):
    """A model whose flow is finite but whose weight's gradient is not."""

    def call(self, fixed, moving):
        return tf.sqrt(self.scale - 1.0) * tf.ones_like(fixed) * tf.ones((1, 1, 1, 1, 3))


BLANK = (
    "network.base=tests.training.test_loop:Exploding",
    "network.n_cascades=1",
    "network.affine=false",
    "augment=false",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A pack of four smooth random scans and its dataset config."""
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def config(data):
    return load_training_config(data / "train.json")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert train(load_training_config(data / "train.json"), folder) == 6
    return folder


def test_starts_from_the_weights_of_a_model(data, finished, tmp_path):
    """With a rate too small to change anything, the weights stay; another network is refused."""
    options = ["steps=1", "optimizer.learning_rate=1e-12", f"data.initial_model={finished}"]
    train(load_training_config(data / "train.json", options), tmp_path / "run")
    first, second = (load_with_config(folder)[0] for folder in (finished, tmp_path / "run"))
    for name, weight in first.named_weights().items():
        np.testing.assert_allclose(second.named_weights()[name], weight, atol=1e-9)
    options.append("network.channels=3")
    with pytest.raises(ValueError, match=r"`data\.initial_model` .*finished: "):
        train(load_training_config(data / "train.json", options), tmp_path / "other")
    assert not (tmp_path / "other" / "weights.h5").exists()


def test_writes_model_records_and_checkpoints(finished):
    model, config = load_with_config(finished)
    assert model.volume_shape == SHAPE
    assert config["training"]["steps"] == 6
    assert len(losses_of(finished)) == 6
    assert sorted(p.name for p in finished.iterdir()) == [
        "checkpoints",
        "config.json",
        "environment.json",
        "logs",
        "metrics.jsonl",
        "training.json",
        "training_data.json",
        "weights.h5",
    ]
    assert len(list((finished / "checkpoints").glob("*.index"))) == 3


def test_tensorboard_has_scalars_and_slices(finished):
    tags = set()
    for path in (finished / "logs").iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            tags |= {value.tag for value in event.summary.value}
    assert {"total", "final/similarity", "learning_rate", "pairs_per_second"} <= tags
    pictures = ("fixed", "moving", "warped", "grid")
    assert {f"{name}/axis_{k}" for name in pictures for k in range(3)} <= tags
    assert "jacobian_determinant" in tags


def test_a_line_across_two_phases_has_the_terms_of_both(tmp_path):
    records = Records(tmp_path)
    for terms in ({"total": 1.0, "stage_2/mse": 3.0}, {"total": 2.0, "stage_3/mse": 5.0}):
        records.add(terms)
    records.add({"total": 6.0, "stage_3/mse": 7.0})
    assert records.log(3) == {"total": 3.0, "stage_2/mse": 3.0, "stage_3/mse": 6.0}
    records.close()


def test_the_deformed_grid_has_lines_in_every_slice(tmp_path):
    """In the undeformed grid every eighth voxel along each axis is a line, in all slices."""
    records = Records(tmp_path)
    blank = tf.zeros((1, 32, 48, 40, 1))
    flow = tf.zeros((1, 32, 48, 40, 3))
    records.pictures(1, fixed=blank, moving=blank, warped=blank, flow=flow)
    records.close()
    pictures = {}
    for path in (tmp_path / "logs").iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value:
                if value.tag.startswith("grid"):
                    image = tf.io.decode_png(value.tensor.string_val[2])
                    pictures[value.tag] = np.asarray(image)[..., 0] > 127
    assert {name: image.shape for name, image in pictures.items()} == {
        "grid/axis_0": (48, 40),
        "grid/axis_1": (32, 40),
        "grid/axis_2": (32, 48),
    }
    for image in pictures.values():
        assert image.mean() == pytest.approx(1 - (7 / 8) ** 2)


def test_the_environment_is_written_down(finished, config):
    facts = json.loads((finished / "environment.json").read_text())
    assert facts["versions"]["tensorflow"] == tf.__version__
    assert (facts["replicas"], facts["recompute"]) == (1, False)
    assert TrainingConfig.from_dict(json.loads((finished / "training.json").read_text())) == config


@pytest.mark.slow
def test_resumed_run_has_the_losses_of_an_uninterrupted_one(config, finished, tmp_path):
    steps = []

    def stop_after_three():
        return len(steps) == 3

    folder = tmp_path / "run"
    first = train(
        config, folder, on_step=lambda s, _: steps.append(s), should_stop=stop_after_three
    )
    assert first == 3
    assert train(config, folder, resume=True) == 6
    np.testing.assert_allclose(losses_of(folder), losses_of(finished), rtol=1e-5)
    again, whole = load_with_config(folder)[0], load_with_config(finished)[0]
    for a, b in zip(again.get_weights(), whole.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_learning_rate_schedule_survives_resuming(config, tmp_path):
    folder = tmp_path / "run"
    train(config.with_settings("steps=3"), folder)
    train(config.with_settings("steps=5"), folder, resume=True)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines]
    np.testing.assert_allclose(rates, [1e-3] * 4 + [5e-4], rtol=1e-5)


@pytest.mark.slow
def test_steps_that_a_kill_undid_are_run_and_logged_again(config, finished, tmp_path):
    """As after a kill -9 past step 5: the newest checkpoint is of step 4, the log goes further."""
    folder = tmp_path / "run"
    train(config.with_settings("steps=5"), folder)
    (folder / "weights.h5").unlink()
    for path in (folder / "checkpoints").glob("ckpt-5*"):
        path.unlink()
    state = folder / "checkpoints" / "checkpoint"
    lines = [line for line in state.read_text().splitlines() if "ckpt-5" not in line]
    state.write_text('model_checkpoint_path: "ckpt-4"\n' + "\n".join(lines[1:]))
    assert train(config, folder, resume=True) == 6
    np.testing.assert_allclose(losses_of(folder), losses_of(finished), rtol=1e-5)
    assert load_with_config(folder)[1]["training"]["steps"] == 6


def test_resuming_a_finished_run_restores_its_model_folder(config, finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "weights.h5").unlink()
    assert train(config, folder, resume=True) == 6
    whole = load_with_config(finished)[0].get_weights()
    for a, b in zip(load_with_config(folder)[0].get_weights(), whole):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "lamb", "lookahead"])
def test_other_optimisers_train_and_resume(config, name, tmp_path):
    if name != "adamw":
        pytest.importorskip("tensorflow_addons.optimizers")
    config = config.with_settings(*BLANK, f"optimizer.name={name}", "optimizer.clip_norm=1")
    train(config.with_settings("steps=2"), tmp_path / "run")
    assert train(config.with_settings("steps=4"), tmp_path / "run", resume=True) == 4


def test_a_gradient_that_is_not_finite_is_never_saved(config, tmp_path):
    network = "network.base=tests.training.test_loop:NotDifferentiable"
    config = config.with_settings(*BLANK, network, "checkpoint_every=1")
    with pytest.raises(TrainingDivergedError, match="deform_stem_0/scale is not finite at step 1"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "weights.h5").exists()


def test_nan_stops_with_the_pair_and_keeps_the_last_checkpoint(config, tmp_path):
    config = config.with_settings(*BLANK, "batch_size=1", "checkpoint_every=1", "steps=50")
    folder = tmp_path / "run"
    message = r"step \d+: the loss is not finite for s\d <- s3: dense_1/smoothness is nan"
    with pytest.raises(TrainingDivergedError, match=message) as info:
        train(config, folder)
    step = int(str(info.value).split("step ")[1].split(":")[0])
    if step > 1:
        model, saved = load_with_config(folder)
        assert saved["training"]["steps"] == step - 1
        assert np.isfinite(model.get_weights()[0]).all()


@pytest.mark.slow
def test_supervised_training_follows_the_reference_flows(data, tmp_path):
    """A constant reference flow of (2, -1, 1) voxels is learnt on the only pair that has one."""
    flow = np.broadcast_to([2.0, -1.0, 1.0], (*SHAPE, 3))
    with h5py.File(tmp_path / "flows.h5", "w") as file:
        write_reference_flow(file, "s0", "s1", flow)
    settings = [
        f"data.reference_flows={tmp_path / 'flows.h5'}",
        "augment=false",
        "loss={final: {endpoint_error: 1.0}}",
        "steps=60",
        "optimizer.learning_rate=0.01",
        "batch_size=1",
        "halve_at=[]",
    ]
    train(load_training_config(data / "train.json", settings), tmp_path / "run")
    losses = losses_of(tmp_path / "run")
    assert losses[0] == pytest.approx(6**0.5, rel=0.1)
    assert min(losses) < 0.5 * losses[0]


@pytest.mark.slow
def test_recomputing_changes_no_loss(config, finished, tmp_path):
    train(config.with_settings("recompute=true"), tmp_path / "run")
    np.testing.assert_allclose(losses_of(tmp_path / "run"), losses_of(finished), rtol=1e-5)


@pytest.mark.nightly
def test_a_seed_determines_a_run_to_the_last_bit(data, tmp_path):
    """Two processes with --seed 7 agree; a third with another seed differs."""
    runs = [tmp_path / name for name in ("a", "b", "c")]
    real = ("--set", "network.base=vtn", "--set", "network.affine=true", "--set", "steps=3")
    for run, seed in zip(runs, "778"):
        run_training(data, run, "--seed", seed, *real)
    a, b, c = (load_with_config(run)[0].get_weights() for run in runs)
    for first, second in zip(a, b):
        np.testing.assert_array_equal(first, second)
    assert losses_of(runs[0]) == losses_of(runs[1])
    assert any((first != other).any() for first, other in zip(a, c))
    assert json.loads((runs[0] / "training.json").read_text())["deterministic"] is True


@pytest.mark.parametrize(
    "base",
    [pytest.param(b, marks=pytest.mark.slow if b == "vtn" else pytest.mark.nightly) for b in BASES],
)
def test_every_network_trains_saves_and_resumes(config, base, tmp_path):
    config = config.with_settings(f"network.base={base}", "network.affine=true", "steps=1")
    assert train(config, tmp_path / "run") == 1
    assert train(config.with_settings("steps=2"), tmp_path / "run", resume=True) == 2
    assert load_with_config(tmp_path / "run")[1]["network"]["base"] == base


def test_a_flow_that_is_not_finite_is_named_in_one_line(data, tmp_path):
    with h5py.File(tmp_path / "flows.h5", "w") as file:
        write_reference_flow(file, "s0", "s1", np.full((*SHAPE, 3), np.nan))
    flows = f"data.reference_flows={tmp_path / 'flows.h5'}"
    settings = [flows, "augment=false", "loss={final: {endpoint_error: 1.0}}"]
    config = load_training_config(data / "train.json", settings)
    with pytest.raises(ValueError, match="^the flow 's0 <- s1' in .* holds NaN or infinity.$"):
        train(config, tmp_path / "run")


def test_a_damaged_line_of_the_records_is_dropped(config, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": \xff\x00\n')
    train(config.with_settings("steps=7"), tmp_path / "run", resume=True)
    assert len(losses_of(tmp_path / "run")) == 7


def test_a_model_is_not_overwritten_by_a_new_run(config, tmp_path):
    train(config.with_settings("steps=1"), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(ValueError, match="already holds a model"):
        train(config, tmp_path / "run")


def test_folder_mistakes_are_named(config, finished, tmp_path):
    with pytest.raises(ValueError, match="already holds a training run"):
        train(config, finished)
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        train(config, tmp_path / "new", resume=True)
    with pytest.raises(ValueError, match="cannot resume .* `network.channels` was 2 and is now 4"):
        train(config.with_settings("network.channels=4"), finished, resume=True)


def test_bad_data_is_named_before_anything_is_written(data, tmp_path):
    config = load_training_config(data / "train.json", ["data.scheme=7"])
    with pytest.raises((KeyError, ValueError), match="7"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()

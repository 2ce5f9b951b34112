"""The estimate of a training step's memory: small networks by hand, and one real step."""

import pathlib
import subprocess
import sys
import textwrap

import pytest
import tensorflow as tf

import rcn_tf
from rcn_tf.keras_api import keras
from rcn_tf.training import available_memory as available_module
from rcn_tf.training import memory
from rcn_tf.training.config import TrainingConfig
from rcn_tf.training.memory import choose_recompute, estimate

ROOT = pathlib.Path(__file__).parents[2]
SHAPE = (32, 33, 34)
VOXELS = 32 * 33 * 34
SMALL = (
    "network.base=tests.known_networks:OneConvolution",
    "network.channels=2",
    "network.affine_channels=2",
)


BY_HAND = (
    "network.base=tests.known_networks:OneConvolution",
    "network.channels=5",
    "network.affine=false",
)
RCN_LOSS = "{dense: {smoothness: 1}, final: {similarity: 1, invertibility: 1}}"


def config(*settings):
    return TrainingConfig().with_settings("network.n_cascades=2", *settings)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_counted_by_hand(precision):
    found = estimate(config(*BY_HAND, f"precision={precision}"), SHAPE, 3)
    weights = 4 * (27 * 2 * 5 + 5 + 5 * 3 + 3)
    # Input of the first convolution; ReLU's result, which is the second one's input.
    stage = 3 * VOXELS * 4 * (2 + 5)
    if precision == "bfloat16":  # both in 16 bits and the latter in float32 too, one kernel as well
        stage = 3 * VOXELS * (2 * 2 + 2 * 5 + 4 * 5) + 2 * 27 * 2 * 5
    flows = 3 * VOXELS * 4 * (2 + (3 + 1) + (3 + 3 + 1) + (3 + 3 + 1))
    assert found.weights == found.gradients == 2 * weights
    assert found.optimizer == 4 * weights
    assert found.flows == flows
    assert found.recomputed == 2 * stage
    # No gradient of the images is needed, so the first network's kernel is not kept.
    spared = 2 * 27 * 2 * 5 if precision == "bfloat16" else 0
    assert found.activations == 3 * stage - spared
    parts = found.runtime + 8 * weights + flows
    assert found.total() == parts + 3 * stage - spared
    assert found.total(recompute=True) == parts + 2 * stage


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "affine"),
    [
        ("vtn", True),
        pytest.param("vtn", False, marks=pytest.mark.nightly),
        pytest.param("voxelmorph", True, marks=pytest.mark.nightly),
        ("voxelmorph", False),
    ],
)
def test_weights_are_the_models(base, affine):
    network = {"base": base, "channels": 2, "affine_channels": 2, "affine": affine}
    loss = {"dense": {"smoothness": 1}, "final": {"similarity": 1}}
    settings = {"network": {**network, "n_cascades": 3}, "loss": loss}
    model = rcn_tf.RecursiveCascade(volume_shape=SHAPE, **network, n_cascades=3)
    found = estimate(TrainingConfig.from_dict(settings), SHAPE, 1)
    assert found.weights == 4 * model.count_params()


@pytest.mark.slow
def test_what_grows_with_what():
    one, batch = (estimate(config(*SMALL), SHAPE, n) for n in (1, 4))
    assert batch.weights == one.weights
    assert batch.flows == 4 * one.flows
    assert 3.5 * one.activations < batch.activations <= 4 * one.activations
    longer = estimate(config(*SMALL, "network.n_cascades=5"), SHAPE, 1)
    assert longer.recomputed == one.recomputed
    more = 3 * one.recomputed // 2
    assert longer.activations == pytest.approx(one.activations + more, rel=1e-3)
    repeated = estimate(config(*SMALL, "n_repeats=3"), SHAPE, 1)
    assert repeated.weights == one.weights
    more = 4 * one.recomputed // 2
    assert repeated.activations == pytest.approx(one.activations + more, rel=1e-3)
    both_ways = estimate(config(*SMALL, f"loss={RCN_LOSS}"), SHAPE, 1)
    assert both_ways.activations == 2 * one.activations
    assert both_ways.flows == 2 * one.flows
    lookahead = estimate(config(*SMALL, "optimizer.name=lookahead"), SHAPE, 1)
    assert lookahead.optimizer == 3 * one.weights
    assert one.total(recompute=True) < one.total()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.slow
def test_a_long_cascade_is_sized_by_two_short_ones(affine, monkeypatch):
    long = config(*SMALL, "network.n_cascades=4", "n_repeats=2", f"network.affine={affine}")
    long = long.with_settings("loss={dense: {smoothness: 1}, final: {similarity: 1}}")
    continued = estimate(long, SHAPE, 1)
    monkeypatch.setattr(rcn_tf.RecursiveCascade, "REPEATED", "")
    assert continued == estimate(long, SHAPE, 1)


def test_an_affine_stage_alone():
    found = estimate(config(*SMALL, "network.n_cascades=0"), SHAPE, 1)
    assert found.activations == found.recomputed > 0
    assert found.weights > 0


def test_tracing_leaves_nothing_behind():
    tf.random.set_seed(3)
    expected = tf.random.uniform([2]).numpy()
    tf.random.set_seed(3)
    estimate(config(*SMALL), SHAPE, 1)
    assert (tf.random.uniform([2]).numpy() == expected).all()
    assert keras.mixed_precision.global_policy().name == "float32"


def test_what_is_refused():
    with pytest.raises(ValueError, match="replica_batch"):
        estimate(config(*SMALL), SHAPE, 0)
    with pytest.raises(ValueError, match="volume_shape"):
        estimate(config(*SMALL), (8, 8, 8), 1)


def test_the_choice(monkeypatch):
    small = config(*SMALL)
    needed = estimate(small, SHAPE, 1).total()
    assert choose_recompute(small, SHAPE, 1, available=int(needed / 0.79)) is False
    assert choose_recompute(small, SHAPE, 1, available=int(needed / 0.81)) is True
    assert choose_recompute(config("recompute=true"), SHAPE, 1, available=2**60) is True
    assert choose_recompute(config("recompute=false"), SHAPE, 1, available=1) is False
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    assert choose_recompute(small, SHAPE, 1) is False


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A simulated machine with 64 GiB, 16 of them free, whose system files are in a folder."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: [])
    monkeypatch.setattr(available_module, "physical_memory", lambda: 64 * 2**30)
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:  {16 * 2**20} kB\n")
    (tmp_path / "self").write_text("0::/\n")
    monkeypatch.setattr(available_module, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(available_module, "_OWN_GROUPS", tmp_path / "self")
    monkeypatch.setattr(available_module, "_GROUPS", tmp_path)
    return tmp_path


def group(folder, **values):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("memory_", "memory.")).write_text(f"{value}\n")


def test_available_is_what_is_free(machine):
    assert memory.available_memory() == 16 * 2**30
    (machine / "meminfo").unlink()
    (machine / "self").unlink()
    assert memory.available_memory() == 64 * 2**30


def test_available_within_a_container(machine):
    (machine / "self").write_text("0::/outer/inner\n")
    limit, usage, stat = 2**33, 2**32, f"anon 1\ninactive_file {2**20}"
    outer = {"memory_max": limit, "memory_current": usage, "memory_stat": stat}
    group(machine / "outer", **outer)
    group(machine / "outer" / "inner", **{**outer, "memory_max": "max"})
    assert memory.available_memory() == limit - usage + 2**20


def test_available_within_a_container_version_1(machine):
    (machine / "self").write_text("3:cpu,cpuacct:/\n2:memory:/docker\n")
    stat = "total_inactive_file 5"
    values = {"memory_limit_in_bytes": 2000, "memory_usage_in_bytes": 1500, "memory_stat": stat}
    group(machine / "memory" / "docker", **values)
    assert memory.available_memory() == 505


def test_available_on_gpus(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: ["a", "b"])
    answer = subprocess.CompletedProcess([], 0, "81559\n24576\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: answer)
    assert memory.available_memory() == 24576 * 2**20
    answer.stdout = "[N/A]\n"
    assert memory.available_memory() is None


STEP = """
    import re
    import tensorflow as tf
    import rcn_tf
    from rcn_tf.keras_api import keras
    from rcn_tf.losses.objective import RCN_WEIGHTS
    from rcn_tf.training.step import make_train_step

    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        model = rcn_tf.RecursiveCascade("vtn", 2, (64, 64, 64))
        optimizer = keras.optimizers.legacy.Adam(1e-4)
    images = [tf.random.uniform((2, 64, 64, 64, 1)) for _ in range(2)]
    step = make_train_step(strategy, model, optimizer, weights=RCN_WEIGHTS, batch_size=2)
    for _ in range(3):
        step(*images)["total"].numpy()
    status = open("/proc/self/status").read()  # getrusage would count what pytest once held
    print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_real_step_takes_about_what_was_estimated():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("measures the memory of the CPU")
    command = [sys.executable, "-c", textwrap.dedent(STEP)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    measured = 1024 * int(done.stdout.split()[-1])
    assert estimate(config(), (64, 64, 64), 2).total() == pytest.approx(measured, rel=0.2)

"""The serving example over TCP: a good pair, every error, and that no data are kept."""

import contextlib
import gzip
import io
import json
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk

from rcn_tf import RecursiveCascade
from rcn_tf.export.saved_model import export_model
from rcn_tf.registration.pair import register_pair
from tests.volumes.preparation.test_network_input import blob
from tests.volumes.test_warping import turned_copy

pytestmark = pytest.mark.slow

for name in ("fastapi", "python_multipart"):
    pytest.importorskip(name)
httpx, uvicorn = pytest.importorskip("httpx"), pytest.importorskip("uvicorn")

LIMITS = {
    "max_bytes": 1 << 20,
    "max_image_bytes": 2 << 20,
    "max_voxels": 100_000,
    "waiting": 0,
    "uploads": 6,
}
PREPROCESSING = {"preprocessing": {"margin": 0.05}}


@pytest.fixture(scope="module")
def model():
    return RecursiveCascade(
        n_cascades=1, volume_shape=(32, 34, 36), channels=2, affine_channels=2, init="original"
    )


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    """(address, folder of its temporary files) of a server with small limits."""
    export, work = tmp_path_factory.mktemp("export") / "model", tmp_path_factory.mktemp("work")
    export_model(model, export, config=PREPROCESSING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(work))
        patch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "examples" / "serve"))
        from app import create_app

        application = create_app(export, upload_seconds=4.0, idle_seconds=2.0, **LIMITS)
        with served(application) as port:
            (folder,) = work.iterdir()
            assert folder.stat().st_mode & 0o777 == 0o700
            yield ("127.0.0.1", port), folder
        assert not list(work.iterdir())


@contextlib.contextmanager
def served(application):
    """Runs uvicorn in a thread; returns its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = uvicorn.Config(application, port=port, log_level="critical", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not running.started and time.monotonic() < deadline:
            time.sleep(0.05)
        yield port
    finally:
        running.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def nothing_is_left(server):
    """Checks after every test that the temporary folder is empty and no place is taken."""
    yield
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (list(server[1].iterdir()) or places_taken(server)):
        time.sleep(0.05)
    assert not list(server[1].iterdir())
    assert places_taken(server) == 0


def places_taken(server):
    return httpx.get(url(server, "health")).json()["requests"]


def url(server, path):
    return f"http://{server[0][0]}:{server[0][1]}/{path}"


def nifti(image, suffix=".nii.gz"):
    """Bytes of an image as a NIfTI file."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"image{suffix}"
        sitk.WriteImage(image, str(path))
        return path.read_bytes()


def post(server, fixed, moving, **more):
    files = {"fixed": ("patient name.nii.gz", fixed), "moving": ("b.nii", moving)}
    return httpx.post(url(server, "register"), files=files, timeout=60, **more)


def refusal(response, status):
    """The one line of an error response, which must name no file and no folder."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"detail"}
    detail = response.json()["detail"]
    assert "\n" not in detail
    assert not any(text in detail for text in ("patient", "rcn-serve-", tempfile.gettempdir()))
    return detail


def test_a_pair_is_registered_as_by_the_library(server, model, tmp_path):
    fixed, moving = blob(), turned_copy(blob())[0]
    response = post(server, nifti(fixed), nifti(moving, ".nii"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    assert len(response.content) == int(response.headers["content-length"])
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        names = ["warped.nii.gz", "displacement.nii.gz", "metrics.json"]
        assert archive.namelist() == names
        archive.extractall(tmp_path)
    expected = register_pair(model, PREPROCESSING, fixed, moving)
    for name, image in (("warped", expected.warped), ("displacement", expected.displacement)):
        found = sitk.ReadImage(str(tmp_path / f"{name}.nii.gz"))
        arrays = sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(image)
        np.testing.assert_allclose(*arrays, atol=1e-3 * abs(arrays[1]).max())
        np.testing.assert_allclose(found.GetOrigin(), image.GetOrigin(), atol=1e-4)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["correlation"]["after"] == pytest.approx(
        expected.metrics["correlation"]["after"], abs=1e-3
    )


def test_health(server):
    assert httpx.get(url(server, "health")).json() == {
        "status": "ok",
        "requests": 0,
        "grid": [32, 34, 36],
    }


def spoilt(name):
    """{name: (bytes of a bad file, status, message)}."""
    image, good = blob(), nifti(blob(), ".nii")
    cut = gzip.compress(good)
    return {
        "text": (b"not an image, but long enough to be one" * 20, 415, "not a NIfTI file"),
        "packed text": (gzip.compress(b"text" * 999), 415, "not a NIfTI file"),
        "nothing": (b"", 415, "is empty"),
        "pair": (good[:344] + b"ni1\0" + good[348:], 415, "not a NIfTI file"),
        "cut": (good[: len(good) // 2], 422, "its header says"),
        "header alone": (good[:352], 422, "its header says"),
        "cut and packed": (cut[: len(cut) // 2], 422, "is cut off or damaged"),
        "damaged": (cut[:-8] + bytes(8), 422, "is cut off or damaged"),
        "flat": (nifti(image[:, :, 3]), 422, "is 2D (30 x 26)"),
        "frames": (nifti(sitk.JoinSeries([image, image])), 422, "is 4D"),
        "zero": (nifti(image * 0), 422, "the moving image is empty"),
        "nan": (nifti(image / 0), 422, "the moving image is empty"),  # ITK reads NIfTI's as 0
        "bomb": (gzip.compress(good + bytes(30 << 20)), 413, "more than 2097152 bytes unpacked"),
        "large": (nifti(sitk.Image(99, 99, 99, sitk.sitkUInt8)), 413, "970299 voxels; at most"),
        "vast": (
            good[:42] + struct.pack("<3h", *[32767] * 3) + good[48:],
            413,
            "`moving` has more than 2097152 bytes by its header",
        ),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "text",
        "packed text",
        "nothing",
        "pair",
        "cut",
        "header alone",
        "cut and packed",
        "damaged",
        "flat",
        "frames",
        "zero",
        "nan",
        "bomb",
        "large",
        "vast",
    ],
)
def test_bad_files(name, server):
    content, status, message = spoilt(name)
    assert message in refusal(post(server, nifti(blob()), content), status)


def test_bad_requests(server):
    address, good = url(server, "register"), nifti(blob())
    assert "`moving` is missing" in refusal(httpx.post(address, files={"fixed": good}), 422)
    assert "expected multipart" in refusal(httpx.post(address, content=good), 415)
    assert "Too many" in refusal(post(server, good, good, data={"more": "1"}), 400)
    broken = {"Content-Type": "multipart/form-data"}
    assert "boundary" in refusal(httpx.post(address, content=good, headers=broken), 400)
    assert httpx.get(address).status_code == 405


def test_too_large_a_body_announced_or_not(server):
    large = bytes(LIMITS["max_bytes"] + 1)
    assert "larger than 1048576 bytes" in refusal(post(server, large, b""), 413)
    request = httpx.Request("POST", url(server, "register"), files={"fixed": large})
    headers = {"Content-Type": request.headers["content-type"]}
    blocks = (request.read()[k : k + 65536] for k in range(0, len(large), 65536))
    response = httpx.post(request.url, content=blocks, headers=headers)
    assert "larger than 1048576 bytes" in refusal(response, 413)
    with socket.create_connection(server[0]) as client:  # refused before the body is sent
        client.sendall(head(10**12))
        assert client.recv(4096).startswith(b"HTTP/1.1 413")


def head(length):
    return (
        f"POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    ).encode()


def begin_upload(server):
    """A connection that has sent the first half of a file."""
    client = socket.create_connection(server[0])
    part = b'--b\r\nContent-Disposition: form-data; name="fixed"; filename="f"\r\n\r\n'
    client.sendall(head(5000) + part + bytes(2000))
    return client


def test_senders_that_stall_take_no_place(server):
    """Five idle senders do not block the server; a sixth may send, a seventh is refused."""
    good = nifti(blob())
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(begin_upload(server)) for _ in range(5)]
        while len(list(server[1].iterdir())) < 5:
            time.sleep(0.02)
        assert places_taken(server) == 0
        assert post(server, good, good).status_code == 200
        for client in idle:
            client.settimeout(20)
            answer = client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"nothing was sent for 2 s" in answer or not answer.endswith(b"}")
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(begin_upload(server))
        while len(list(server[1].iterdir())) < 6:
            time.sleep(0.02)
        response = post(server, good, good)
        assert "too many requests" in refusal(response, 503)
        assert int(response.headers["retry-after"]) > 0


@pytest.mark.slow
def test_an_upload_that_trickles_is_ended(server):
    with begin_upload(server) as client:
        client.settimeout(20)
        answer = b""
        for _ in range(12):  # never idle for long
            time.sleep(0.5)
            try:
                client.sendall(bytes(10))
            except OSError:  # ended already
                break
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_registration_that_takes_too_long(server, monkeypatch):
    """The status is 504; the place and the folder are kept until the registration really ends."""
    import app
    from waiting_line import WaitingLine

    run, ended = WaitingLine.run, threading.Event()

    def slow(model, folder, max_voxels):
        assert ended.wait(20)
        assert (folder / "fixed.nii").exists()

    monkeypatch.setattr(app, "_result", slow)
    monkeypatch.setattr(
        WaitingLine, "run", lambda self, folder, job, seconds: run(self, folder, job, 0.1)
    )
    good = nifti(blob())
    assert "longer than" in refusal(post(server, good, good), 504)
    assert "too many requests" in refusal(post(server, good, good), 503)
    ended.set()


def test_a_fault_of_the_server_is_not_shown(server, monkeypatch):
    import app

    def fail(model, folder, max_voxels):
        raise RuntimeError(f"something in {folder}")

    monkeypatch.setattr(app, "_result", fail)
    good = nifti(blob())
    assert refusal(post(server, good, good), 500) == "the server failed"


def test_the_script_says_what_it_takes():
    script = pathlib.Path(__file__).parents[2] / "examples" / "serve" / "app.py"
    shown = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "folder that `rcn export` made" in shown.stdout


@pytest.mark.parametrize("content", ["empty", "other", "damaged"])
def test_a_damaged_export_is_one_line(content, server, tmp_path, monkeypatch, capsys):
    import app

    if content == "other":
        (tmp_path / "rcn_export.json").write_text("[]")
    if content == "damaged":
        record = {"format": 1, "volume_shape": [32, 32, 32], "preprocessing": {}}
        (tmp_path / "rcn_export.json").write_text(json.dumps(record))
        (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    monkeypatch.setattr(sys, "argv", ["app.py", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1, shown
    assert shown.startswith("app.py: error: ")
    assert str(tmp_path) in shown


def test_a_missing_export_is_one_line_without_tensorflows(tmp_path):
    script = pathlib.Path(__file__).parents[2] / "examples" / "serve" / "app.py"
    command = [sys.executable, script, tmp_path / "gone"]
    shown = subprocess.run(command, capture_output=True, text=True)
    assert shown.returncode == 2
    expected = f"app.py: error: {tmp_path / 'gone' / 'rcn_export.json'} does not exist.\n"
    assert shown.stderr == expected

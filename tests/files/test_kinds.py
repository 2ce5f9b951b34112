"""Kinds of files by their first bytes, which other programs wrote wherever possible."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
from matplotlib import image as pictures

from rcn_tf.files.kinds import because, explain, kind_of, require_file, require_text

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("scan.nii", b"x")
    return file.getvalue()


def tarred():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("scan.nii"))
    return file.getvalue()


def saved(write):
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def hdf5(file):
    with h5py.File(file, "w") as content:
        content["x"] = np.arange(3)


JUNK = {
    b"": "empty (0 bytes); download",
    bytes(5000): "nothing but zeros",
    b"<!DOCTYPE html>\n<html><body>404": "an HTML page",
    b"\xef\xbb\xbf  <HTML lang='en'>": "an HTML page",
    b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x"><html>': "an HTML page",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>': "an XML text",
    json.dumps({"message": "Not Found"}).encode(): "a JSON text",
    b"[]": "a JSON text",
    LFS: "a Git LFS pointer, not the file itself; fetch it with: git lfs pull",
    b"/annex/objects/MD5E-s1--0a.nii.gz\n": "a git-annex pointer",
    zipped(): "a ZIP archive",
    tarred(): "a tar archive",
    b"7z\xbc\xaf\x27\x1c\0\4": "a 7-Zip archive",
    b"Rar!\x1a\x07\x01\0": "a RAR archive",
    b"\x28\xb5\x2f\xfd\x04": "compressed by zstd; unpack it: unzstd",
    gzip.compress(b"<html>"): "compressed by gzip; inside it is an HTML page",
    gzip.compress(tarred()): "compressed by gzip; inside it is a tar archive",
    bz2.compress(LFS): "compressed by bzip2; inside it is a Git LFS pointer",
    lzma.compress(b""): "compressed by xz; inside it is empty",
    gzip.compress(
        gzip.compress(b"%PDF-1.4")
    ): "compressed by gzip, more than once; inside it is a PDF",
    gzip.compress(b"x" * 99)[:8]: "inside is cut off, damaged or of an unknown kind",
    saved(lambda f: pictures.imsave(f, np.zeros((2, 2)), format="png")): "a PNG picture",
    saved(lambda f: pictures.imsave(f, np.zeros((2, 2)), format="jpg")): "a JPEG picture",
    saved(lambda f: np.save(f, np.zeros(3))): "a NumPy array",
    saved(hdf5): "an HDF5 file",
    pickle.dumps([1], 2): "a Python pickle",
    pickle.dumps([1], 4): "a Python pickle",
    b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128): "a MATLAB file",
    b"%PDF-1.7\n": "a PDF document",
    b"hello\nworld": "a text file that begins with 'hello'",
    "größe".encode("utf-16"): "a text file that begins with 'größe'",
}


@pytest.mark.parametrize("content", JUNK, ids=JUNK.values())
def test_what_is_said(tmp_path, content):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(content)
    assert JUNK[content] in explain(path)


def test_bytes_of_no_kind(tmp_path, rng):
    path = tmp_path / "scan"
    path.write_bytes(b"\x13" + rng.bytes(5000))
    assert kind_of(path) is None
    assert explain(path) is None
    assert because(path, f"bad magic ('{path}')") == "bad magic"
    with pytest.raises(
        ValueError, match="scan is not a text file: it holds bytes that are not text"
    ):
        require_text(path)


def test_what_was_expected_is_not_explained(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    assert explain(path, wanted=("json",)) is None
    require_text(path)


def test_latin_text_is_text(tmp_path):
    (tmp_path / "p.csv").write_bytes("größe,x\n".encode("latin-1"))
    assert kind_of(tmp_path / "p.csv").name == "text"


def test_what_is_there_instead_of_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file: .*gone"):
        require_file(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="no such file"):
        require_file(tmp_path / "gone" / "deeper")
    with pytest.raises(ValueError, match="is a folder; expected a scan"):
        require_file(tmp_path, "a scan")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is neither a file nor a folder"):
        require_file(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/nowhere/scan.nii")
    with pytest.raises(
        FileNotFoundError, match="link is a link to /nowhere/scan.nii, which does not exist"
    ):
        require_file(tmp_path / "link")
    (tmp_path / "key").symlink_to("../.git/annex/objects/0a/1b/MD5E-s1--0a/MD5E-s1--0a")
    with pytest.raises(FileNotFoundError, match="key is a git-annex pointer.*git annex get"):
        require_file(tmp_path / "key")

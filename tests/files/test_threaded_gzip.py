"""One gzip member from several threads, against Python's gzip."""

import gzip
import io
import zlib

import pytest

from rcn_tf.files import threaded_gzip
from rcn_tf.files.threaded_gzip import write_gzip

BLOCKS = [b"a" * 100_000, b"", b"0123456789" * 300, b"the end"]


@pytest.mark.parametrize("small", [False, True])
def test_content_comes_back(small):
    file = io.BytesIO()
    write_gzip(file, [BLOCKS[0], *[lambda block=block: block for block in BLOCKS[1:]]], small=small)
    packed = file.getvalue()
    assert gzip.decompress(packed) == b"".join(BLOCKS)
    stream = zlib.decompressobj(31)  # takes a single member
    assert stream.decompress(packed) == b"".join(BLOCKS)
    assert stream.eof
    assert not stream.unused_data


def test_nothing_at_all():
    file = io.BytesIO()
    write_gzip(file, [])
    assert gzip.decompress(file.getvalue()) == b""


def test_a_full_disk_stops_the_threads(monkeypatch):
    made = []

    class Full(io.BytesIO):
        def write(self, data):
            if len(data) > 20:
                raise OSError(28, "No space left on device")
            return super().write(data)

    def block(k):
        made.append(k)
        return b"0123456789" * 1000

    monkeypatch.setattr(threaded_gzip, "cores", lambda: 2)
    with pytest.raises(OSError, match="No space"):
        write_gzip(Full(), [lambda k=k: block(k) for k in range(1000)])
    assert len(made) < 20


def test_errors_of_a_block_are_raised():
    def broken():
        raise ValueError("no such plane")

    with pytest.raises(ValueError, match="no such plane"):
        write_gzip(io.BytesIO(), [b"start", broken, b"end"])

"""Gzip files that several threads compress together.

The file is one gzip member with one deflate stream, which every reader takes: blocks are compressed
on their own, each ends at a byte's border, and they follow one another (RFC 1951, 1952). The result
does not depend on the number of threads or on the time. Light compression is that of ISA-L, which
takes a tenth of zlib's time.
"""

from __future__ import annotations

import collections
import concurrent.futures
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import BinaryIO, Union

from isal import isal_zlib

from rcn_tf.cores import cores

Block = Union[bytes, Callable[[], bytes]]
"""Some of the content, or a function that makes it."""

BLOCK_BYTES = 1 << 20
"""About how long blocks should be: shorter ones cost space, longer ones memory."""

_HEADER = b"\x1f\x8b\x08\x00" + 4 * b"\x00" + b"\x00\xff"  # deflate, no name, no time
_END = b"\x03\x00"  # an empty last block of deflate
_RAW, _MEMORY = -15, 9  # deflate without a header, zlib's largest tables
_LIGHT, _SMALL = 1, 9  # levels of ISA-L and of zlib


def write_gzip(file: BinaryIO, blocks: Iterable[Block], *, small: bool = False) -> None:
    """Writes content to a file, compressed.

    Args:
        file: open for writing.
        blocks: the content in order; functions are called in the threads.
        small: compress as far as zlib can, which takes many times as long, instead of lightly.
    Raises: OSError: the file cannot be written. What a function of `blocks` raises.
    """
    threads = cores()
    checksum = length = 0
    file.write(_HEADER)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            for content, compressed in _in_order(pool, blocks, 2 * threads, small):
                checksum = isal_zlib.crc32(content, checksum)
                length += len(content)
                file.write(compressed)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    file.write(_END + struct.pack("<II", checksum, length & 0xFFFFFFFF))


def _in_order(pool, blocks, ahead, small):
    """(content, compressed) of the blocks, of which at most `ahead` wait at a time."""
    waiting = collections.deque()
    for block in blocks:
        waiting.append(pool.submit(_compressed, block, small))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _compressed(block, small):
    content = block() if callable(block) else block
    if small:
        compressor = zlib.compressobj(_SMALL, zlib.DEFLATED, _RAW, _MEMORY)
        return content, compressor.compress(content) + compressor.flush(zlib.Z_SYNC_FLUSH)
    light = isal_zlib.compressobj(_LIGHT, isal_zlib.DEFLATED, _RAW)
    return content, light.compress(content) + light.flush(isal_zlib.Z_SYNC_FLUSH)

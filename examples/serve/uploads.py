"""Receives untrusted uploads: their size is limited, also unpacked, and they must be NIfTI.

Errors are `fastapi.HTTPException`s of one line that name a form field, never a file.
"""

import asyncio
import contextlib
import gzip
import math
import pathlib
import shutil
import struct
import tempfile
import zlib

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from waiting_line import FullError

FIELDS = ("fixed", "moving")

_BLOCK = 1 << 20
_HEADER = 352  # bytes of NIfTI-1's header with its extension flag


class BodyLimit:
    """ASGI middleware: answers 413 to a body of more than `max_bytes`, announced or not."""

    def __init__(self, app, max_bytes):
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._max_bytes:
            await self._refusal()(scope, receive, send)
            return
        found = 0

        async def counted():
            nonlocal found
            message = await receive()
            found += len(message.get("body", b""))
            if found > self._max_bytes:
                raise HTTPException(413, self._reason())
            return message

        await self._app(scope, counted, send)

    def _refusal(self):
        return JSONResponse({"detail": self._reason()}, 413, headers={"Connection": "close"})

    def _reason(self):
        return f"the request is larger than {self._max_bytes} bytes"


class Uploads:
    """Receives a limited number of pairs of images at a time, each into a private folder.

    Args: at_once: number of uploads; work: folder for the private folders.
    """

    def __init__(self, at_once, work):
        self._free = at_once
        self._work = work

    @contextlib.asynccontextmanager
    async def received(self, request, *, max_image_bytes, seconds, idle_seconds):
        """Unpacks the two images of a request into a folder that nobody else can read.

        After the block the caller owns the folder; if the block fails, it is removed.

        Args:
            request: its body is limited by `BodyLimit`.
            max_image_bytes: maximal size of one image, unpacked.
            seconds: longest upload. idle_seconds: longest pause of the sender.
        Yields: pathlib.Path of a folder with fixed.nii and moving.nii.
        Raises: HTTPException: 400, 408, 413, 415 or 422. FullError: too many uploads at a time.
        """
        if not self._free:
            raise FullError
        self._free -= 1
        folder = None
        try:
            folder = pathlib.Path(tempfile.mkdtemp(dir=self._work))  # mode 0700
            impatient = _impatient(request, idle_seconds)
            await _receive(impatient, folder, max_image_bytes=max_image_bytes, seconds=seconds)
            yield folder
        except BaseException:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._free += 1


def _impatient(request, seconds):
    """The request, with a limit on the time between two parts of its body."""

    async def receive():
        try:
            return await asyncio.wait_for(request.receive(), seconds)
        except asyncio.TimeoutError as error:
            raise HTTPException(408, f"nothing was sent for {seconds:g} s") from error

    return Request(request.scope, receive)


async def _receive(request, folder, *, max_image_bytes, seconds):
    """Writes the two images of a request to `folder`/fixed.nii and moving.nii, unpacked."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, "expected multipart/form-data with the files fixed and moving")
    try:
        form = await asyncio.wait_for(
            request.form(max_files=len(FIELDS), max_fields=0), timeout=seconds
        )
    except asyncio.TimeoutError as error:
        raise HTTPException(408, f"the upload took longer than {seconds:g} s") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the upload was cut off") from error
    try:
        for field in FIELDS:
            if not isinstance(form.get(field), UploadFile):
                raise HTTPException(422, f"the file `{field}` is missing")
        for field in FIELDS:
            target = folder / f"{field}.nii"
            await run_in_threadpool(_unpack, form[field].file, target, field, max_image_bytes)
    finally:
        await form.close()


def _unpack(file, target, field, max_bytes):
    is_packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    source = gzip.GzipFile(fileobj=file, mode="rb") if is_packed else file
    found = 0
    try:
        with target.open("xb") as output:
            while block := source.read(_BLOCK):
                if not found:
                    _check_header(block[:_HEADER], field, max_bytes)
                found += len(block)
                if found > max_bytes:
                    raise HTTPException(413, f"`{field}` has more than {max_bytes} bytes unpacked")
                output.write(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise HTTPException(422, f"`{field}` is cut off or damaged") from error
    if not found:
        raise HTTPException(415, f"`{field}` is empty")


def _check_header(start, field, max_bytes):
    """Refuses a file that does not start like NIfTI, or whose header states too large a size."""
    header = _nifti_header(start)
    if header is None:
        raise HTTPException(415, f"`{field}` is not a NIfTI file (.nii or .nii.gz)")
    sizes, bits = header
    if math.prod(sizes) * bits // 8 > max_bytes:
        raise HTTPException(413, f"`{field}` has more than {max_bytes} bytes by its header")


def _nifti_header(start):
    """(sizes, bits per voxel) of a single-file NIfTI, version 1 or 2; None for other files."""
    for order in "<>":
        if start[344:348] == b"n+1\0" and struct.unpack(f"{order}i", start[:4]) == (348,):
            dims, bits = struct.unpack(f"{order}8h", start[40:56]), start[72:74]
        elif start[4:8] == b"n+2\0" and struct.unpack(f"{order}i", start[:4]) == (540,):
            dims, bits = struct.unpack(f"{order}8q", start[16:80]), start[14:16]
        else:
            continue
        rank = min(max(dims[0], 0), 7)
        sizes = [max(size, 1) for size in dims[1 : rank + 1]]
        return sizes, struct.unpack(f"{order}H", bits)[0]
    return None

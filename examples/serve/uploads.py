"""What a stranger sends: bounded while it arrives and while it is unpacked, NIfTI or refused.

Refusals are `fastapi.HTTPException`s of one line that name a form field, never a file.
"""

import asyncio
import gzip
import zlib

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

FIELDS = ("fixed", "moving")

_BLOCK = 1 << 20
_HEADER = 352  # bytes of NIfTI-1's header with its extension flag


class BodyLimit:
    """ASGI middleware: 413 for a body of more than `max_bytes`, announced or not."""

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


async def receive_pair(request, folder, *, max_image_bytes, seconds):
    """Writes the two images of a request to `folder`/fixed.nii and moving.nii, unpacked.

    Args:
        request: with a body that `BodyLimit` has bounded.
        max_image_bytes: of one image, unpacked.
        seconds: that the upload may take.
    Raises: HTTPException: 400, 408, 413, 415 or 422.
    """
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
                if not found and not _is_nifti(block[:_HEADER]):
                    raise HTTPException(415, f"`{field}` is not a NIfTI file (.nii or .nii.gz)")
                found += len(block)
                if found > max_bytes:
                    raise HTTPException(413, f"`{field}` has more than {max_bytes} bytes unpacked")
                output.write(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise HTTPException(422, f"`{field}` is cut off or damaged") from error
    if not found:
        raise HTTPException(415, f"`{field}` is empty")


def _is_nifti(start):
    """Whether a file that starts so is a NIfTI file with its voxels in it, version 1 or 2."""
    size = {start[:4], start[3::-1]}
    if (348).to_bytes(4, "little") in size:
        return start[344:348] == b"n+1\0"
    return (540).to_bytes(4, "little") in size and start[4:8] == b"n+2\0"

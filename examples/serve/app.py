"""Registration behind HTTP: an exported model, FastAPI, one registration at a time.

    pip install ".[serve]"
    rcn export --out served_model
    python examples/serve/app.py served_model --port 8000
    curl -f -F fixed=@fixed.nii.gz -F moving=@moving.nii.gz -o result.zip localhost:8000/register

The answer is a ZIP archive with warped.nii.gz, displacement.nii.gz (mm, on the fixed image's grid)
and metrics.json; an error is JSON, {"detail": one line}. No data of a caller are kept. There is no
authentication and no encryption: put a proxy that has both in front, or leave it on 127.0.0.1.
"""

import argparse
import asyncio
import contextlib
import os
import pathlib
import tempfile
import zipfile

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from uploads import FIELDS, BodyLimit, Uploads
from waiting_line import FullError, WaitingLine

from rcn_tf.errors import is_for_the_user, one_line
from rcn_tf.quiet_tensorflow import load_tensorflow
from rcn_tf.volumes import read_image

RETRY_SECONDS = 30

_BLOCK = 1 << 20
_FORM = {  # description of the request in /docs
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": list(FIELDS),
                    "properties": {f: {"type": "string", "format": "binary"} for f in FIELDS},
                }
            }
        },
    }
}


def create_app(
    export,
    *,
    max_bytes=200 << 20,
    max_image_bytes=512 << 20,
    max_voxels=1 << 24,
    waiting=4,
    uploads=64,
    idle_seconds=10.0,
    upload_seconds=120.0,
    seconds=600.0,
):
    """The application.

    Args:
        export: folder that `rcn export` made.
        max_bytes: maximal size of a request.
        max_image_bytes, max_voxels: maximal size of one image, unpacked.
        waiting: number of requests that may wait while one is served, counted once their images
            have arrived; further ones get 503.
        uploads: number of requests that may send their images at a time; further ones get 503.
        idle_seconds: longest pause of a sender; upload_seconds: longest upload (otherwise 408).
        seconds: longest time for waiting and the registration (otherwise 504).
    """
    load_tensorflow()
    from exported_model import ExportedModel

    model = ExportedModel(export)
    blank = np.zeros((1, *model.volume_shape, 1), np.float32)
    model(blank, blank)  # traces the graph, so that the first caller does not wait for it

    @contextlib.asynccontextmanager
    async def lifespan(app):
        with tempfile.TemporaryDirectory(prefix="rcn-serve-") as work:  # mode 0700
            app.state.line = WaitingLine(waiting)
            app.state.uploads = Uploads(uploads, work)
            yield
            app.state.line.close()

    app = FastAPI(title="rcn-tf registration", lifespan=lifespan)
    app.add_middleware(BodyLimit, max_bytes=max_bytes)

    @app.exception_handler(Exception)
    async def hide(_request, _error):
        return JSONResponse({"detail": "the server failed"}, 500)  # details are in the log

    @app.get("/health")
    async def health():
        return {"status": "ok", "requests": app.state.line.inside, "grid": model.volume_shape}

    @app.post("/register", openapi_extra=_FORM)
    async def register(request: Request):
        line = app.state.line
        try:
            line.check()  # refuses a request before its images are sent
            async with app.state.uploads.received(
                request,
                max_image_bytes=max_image_bytes,
                seconds=upload_seconds,
                idle_seconds=idle_seconds,
            ) as folder:
                line.enter()
        except FullError as error:
            wait = {"Retry-After": str(RETRY_SECONDS)}
            raise HTTPException(503, "too many requests are waiting", wait) from error
        try:
            result = await line.run(
                folder, lambda place: _result(model, place, max_voxels), seconds
            )
        except asyncio.TimeoutError as error:
            raise HTTPException(504, f"it took longer than {seconds:g} s") from error
        size = {"Content-Length": str(os.fstat(result.fileno()).st_size)}
        return StreamingResponse(_blocks(result), headers=size, media_type="application/zip")

    return app


def _result(model, folder, max_voxels):
    """Registers the pair in `folder`. Returns: an open ZIP file, which outlives the folder.

    Raises: HTTPException: 413 or 422, naming a field instead of a path.
    """
    from rcn_tf.registration.outputs import FIELD, METRICS, WARPED
    from rcn_tf.registration.pair import register_pair

    try:
        images = {field: read_image(folder / f"{field}.nii") for field in FIELDS}
        for field, image in images.items():
            if image.GetNumberOfPixels() > max_voxels:
                raise HTTPException(
                    413, f"`{field}` has {image.GetNumberOfPixels()} voxels; at most {max_voxels}"
                )
        result = register_pair(model, model.config, **images)
    except ValueError as error:
        raise HTTPException(422, one_line(error).replace(f"{folder}{os.sep}", "")) from error
    result.save(folder / "result")
    with zipfile.ZipFile(folder / "result.zip", "w") as archive:
        for name in (WARPED, FIELD, METRICS):
            archive.write(folder / "result" / name, name)
    return (folder / "result.zip").open("rb")


def _blocks(file):
    with file:
        while block := file.read(_BLOCK):
            yield block


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("export", type=pathlib.Path, help="folder that `rcn export` made")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-mb", type=int, default=200, help="largest request")
    parser.add_argument("--max-voxels", type=int, default=1 << 24, help="of one image")
    parser.add_argument("--waiting", type=int, default=4, help="requests that may wait")
    args = parser.parse_args()
    try:
        app = create_app(
            args.export,
            max_bytes=args.max_mb << 20,
            max_voxels=args.max_voxels,
            waiting=args.waiting,
        )
    except Exception as error:
        if not is_for_the_user(error):
            raise
        parser.exit(2, f"{parser.prog}: error: {one_line(error)}\n")
    uvicorn.run(app, host=args.host, port=args.port)


if __name__ == "__main__":
    main()

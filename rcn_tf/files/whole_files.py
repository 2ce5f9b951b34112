"""Files: whole or not at all when written, in a person's order when listed, fit for memory."""

import contextlib
import hashlib
import json
import os
import pathlib
import re

from rcn_tf.errors import ESCAPES, naming
from rcn_tf.files.kinds import because, require_file
from rcn_tf.files.working_folders import EARLIER, working_folder


@contextlib.contextmanager
def replacing(path):
    """Temporary path beside `path`; it takes `path`'s place when the block succeeds.

    The temporary name is plain and keeps the suffixes of `path`, in small letters, from which
    writers choose a format. On an error it is removed and an older `path` stays as it was; what
    a killed process left is removed by the next one (`rcn_tf.files.working_folders`).

    Args: path: file to write; its folder must exist.
    Yields: pathlib.Path to write to.
    Raises: OSError: naming `path`, also for what the block could not write.
    """
    path = pathlib.Path(path)
    suffix = re.search(r"(\.nii)?\.[A-Za-z0-9]+$", path.name, re.IGNORECASE)
    with working_folder(path.parent) as folder:
        temporary = folder / f"new{suffix[0].lower() if suffix else ''}"
        with naming(path, instead_of=temporary):
            try:
                yield temporary
            except OSError as error:
                if error.errno and error.filename is None:  # of a write: a full disk
                    error.filename = str(path)
                raise
            temporary.replace(path)


@contextlib.contextmanager
def replacing_folder(path):
    """Temporary folder beside `path`; it takes `path`'s place when the block succeeds.

    On an error it is removed and an older `path` stays as it was.

    Args: path: folder to write; the folder that it is in must exist.
    Yields: pathlib.Path of an empty folder to write to.
    Raises: OSError: as of `replacing`.
    """
    path = pathlib.Path(path).resolve()
    with working_folder(path.parent) as folder:
        temporary, earlier = folder / "new", folder / EARLIER
        with naming(path, instead_of=temporary):
            temporary.mkdir()
            yield temporary
            try:
                if path.exists():
                    path.rename(earlier)
                temporary.rename(path)
            except OSError:
                if earlier.exists() and not path.exists():
                    earlier.rename(path)
                raise


@contextlib.contextmanager
def new_folder(path):
    """As `replacing_folder`, of a path where nothing is yet.

    Raises: FileNotFoundError: no such parent. ValueError: `path` is a file or has content.
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no such folder: {path.parent}")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not an empty folder")
    with replacing_folder(path) as temporary:
        yield temporary


def write_text(path, text):
    """Writes text as UTF-8, replacing `path` in one step; file names that are not UTF-8 in it
    are escaped.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ESCAPES)


def write_json(path, value):
    """Writes `value` as indented JSON, replacing `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path):
    """Reads a JSON file that must hold an object.

    Raises: FileNotFoundError: no such file. ValueError: not JSON, or not an object.
    """
    path = pathlib.Path(path)
    require_file(path, "a JSON file", absent=f"{path} does not exist.")
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not only of JSON: digits without end
        reason = because(path, error, wanted=("json", "text"))
        raise ValueError(f"{path} is not valid JSON: {reason}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object; got {type(value).__name__}.")
    return value


def file_checksum(path):
    """SHA-256 (hexadecimal) of a file's bytes. Raises: OSError: it cannot be read."""
    with pathlib.Path(path).open("rb") as file:
        return stream_checksum(file)


def stream_checksum(file):
    """SHA-256 (hexadecimal) of what is left to read of an open binary file."""
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def physical_memory():
    """Bytes of this machine's memory: what claims to need more is damaged or hostile."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def resident_memory():
    """Bytes of memory that this process holds now."""
    if pathlib.Path("/proc/self/statm").exists():
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    import resource  # macOS: the most that it held

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def natural_order(name):
    """Sort key that puts "scan-2" before "scan-10"."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if k % 2 else (-1, part) for k, part in enumerate(parts)]

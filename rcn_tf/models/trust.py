"""Decides whether a folder's code may be imported: loading a model must not run a stranger's code.

A folder names a model or network from outside this package as "package.module:name", and importing
that module runs it. This is allowed only if this account saved the folder: `save_model` leaves a
mark in it, an HMAC of the name under a key in the account's configuration folder
(`$XDG_CONFIG_HOME`, else `~/.config`). For any other folder the user must give permission, by
`--trust-code` or `load_model(folder, trust_code=True)`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import pathlib
import secrets

MARK = "code_mark"
_PACKAGE = __name__.partition(".")[0]


def code_of(config: dict) -> str | None:
    """Names of the code outside this package that making a config's model would import.

    Args: config: dict with "network", the model's arguments, and perhaps "model", its name.
    Returns: "package.module:name", several joined by " and "; None if there is none.
    """
    network = config.get("network")
    values = network.values() if isinstance(network, dict) else ()
    named = {name for name in (config.get("model"), *values) if is_foreign(name)}
    return " and ".join(sorted(named)) or None


def is_foreign(base: object) -> bool:
    """Whether the name of a model or base network refers to code outside this package."""
    if not isinstance(base, str) or ":" not in base:
        return False
    return base.partition(":")[0].partition(".")[0] != _PACKAGE


def mark_of(base: str | None) -> dict[str, str]:
    """{MARK: this account's mark} for a foreign base; {} for others, or if there is no key."""
    key = _key(make=True) if is_foreign(base) else None
    return {} if key is None else {MARK: _signed(key, base)}


def may_import(base: str | None, record: dict) -> bool:
    """Whether a base needs no permission: it is not foreign, or the record has our mark.

    Args: record: dict from the file that names the base; it may hold the entry of `mark_of`.
    """
    if not is_foreign(base):
        return True
    key, mark = _key(make=False), record.get(MARK)
    if key is None or not isinstance(mark, str):
        return False
    return hmac.compare_digest(mark.encode(), _signed(key, base).encode())


def check_import(base: str | None, record: dict, trusted: bool, where: object) -> None:
    """Raises ValueError if a base must not be imported.

    Args: base, record: as in `may_import`. trusted: the user's permission. where: the file's name.
    """
    if not trusted and base is not None and not may_import(base, record):
        module = base.partition(":")[0]
        raise ValueError(
            f"{where} names code to import and run, module {module!r} (network {base!r}): if you "
            "trust who made it, say so with --trust-code (in Python trust_code=True)."
        )


def _signed(key, base):
    return hmac.new(key, base.encode(), hashlib.sha256).hexdigest()


def _key(make):
    """This account's key; None if there is none and it cannot, or need not, be made."""
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: no home folder
        named = os.environ.get("XDG_CONFIG_HOME")
        folder = pathlib.Path(named) if named else pathlib.Path.home() / ".config"
        path = folder / "rcn-tf" / "key"
        if make and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # another process made it just now
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(32))
        key = path.read_bytes()
        return key if len(key) == 32 else None
    return None

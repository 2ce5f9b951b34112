"""Whether a folder's network may be imported: loading a model must not run a stranger's code.

A model or network of one's own is named in a folder as "package.module:name", and importing the
module runs it. Allowed are this package's modules, and what this account has saved itself: such
folders bear a mark, an HMAC of the name under a key that lies in the account's configuration folder
(`$XDG_CONFIG_HOME`, else `~/.config`). Everything else needs the user's word, `--trust-code` or
`load_model(folder, trust_code=True)`.
"""

import contextlib
import hashlib
import hmac
import os
import pathlib
import secrets

MARK = "code_mark"
_PACKAGE = __name__.partition(".")[0]


def code_of(config):
    """What making the model of a config would import from outside this package.

    Args: config: dict with "network", the model's arguments, and perhaps "model", its name.
    Returns: "package.module:name", several joined by " and "; None where there is nothing.
    """
    network = config.get("network")
    values = network.values() if isinstance(network, dict) else ()
    named = {name for name in (config.get("model"), *values) if is_foreign(name)}
    return " and ".join(sorted(named)) or None


def is_foreign(base):
    """Whether a name, as of a model or a base network, is that of code outside this package."""
    if not isinstance(base, str) or ":" not in base:
        return False
    return base.partition(":")[0].partition(".")[0] != _PACKAGE


def mark_of(base):
    """{MARK: this account's mark} for a foreign base; {} for others, and where there is no key."""
    key = _key(make=True) if is_foreign(base) else None
    return {} if key is None else {MARK: _signed(key, base)}


def may_import(base, record):
    """Whether a base needs no permission: it is not foreign, or the record bears our mark.

    Args: record: dict of the file that came with the base, of `mark_of`'s entries among others.
    """
    if not is_foreign(base):
        return True
    key, mark = _key(make=False), record.get(MARK)
    if key is None or not isinstance(mark, str):
        return False
    return hmac.compare_digest(mark.encode(), _signed(key, base).encode())


def check_import(base, record, trusted, where):
    """Raises ValueError if a base must not be imported.

    Args: base, record: as in `may_import`. trusted: whether the user said so. where: the file.
    """
    if not trusted and not may_import(base, record):
        module = base.partition(":")[0]
        raise ValueError(
            f"{where} names code to import and run, module {module!r} (network {base!r}): if you "
            "trust who made it, say so with --trust-code (in Python trust_code=True)."
        )


def _signed(key, base):
    return hmac.new(key, base.encode(), hashlib.sha256).hexdigest()


def _key(make):
    """This account's key; None where there is none and none can be (or shall be) made."""
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

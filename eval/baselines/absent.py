"""Methods of the papers' tables that are not here, each with the reason."""

from __future__ import annotations

from typing import Any, NoReturn

from eval.baselines.physical import MissingExtraError


def lapirn(*_arguments: Any, **_options: Any) -> NoReturn:
    """LapIRN (Mok and Chung, 2020), RWCNet's Table 2.

    Raises: MissingExtraError: always; the row stays empty, with this note.
    """
    raise MissingExtraError("LapIRN is not part of this project")

"""Errors of ITK in one line, as users read them."""

from __future__ import annotations

import re


def itk_reason(error: Exception) -> str:
    """The last telling line of an ITK exception, which spans several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    if text.startswith("Reason:"):  # the reason of the system's last call, whatever that was
        text = "the file is cut off or damaged"
    for mark in ("ITK ERROR:", "sitk::ERROR:"):
        text = text.split(mark)[-1].strip()
    return re.sub(r"\(0x[0-9a-f]+\)", "", text)

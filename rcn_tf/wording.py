"""Numbers in sentences: "1 scan", "2 scans"."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    Args: number: int. noun: singular, "scan". plural: only needed if it is not noun + "s".
    Returns: "1 scan" or "2 scans".
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"

"""`--transform` of `rcn apply`: one or several transforms, each possibly inverted, in ANTs' order.

--transform A B                  points go through A, then B
--transform A --transform B      the same
--transform [A,1]                points go through the inverse of A (ANTs' notation)
... --inverse                    the inverse of the whole chain
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

HELP = (
    "folder of `rcn register`, a displacement field (mm, LPS), or an ITK transform (.tfm, .txt, "
    ".h5, .mat, .xfm); '[RESULT,1]' is its inverse. Several compose in ANTs' order: points go "
    "through the first, then the second; images are warped by the last first. "
    "Example: --transform to_mean '[subject,1]'"
)


@dataclasses.dataclass(frozen=True)
class TransformArgument:
    """One `--transform`.

    Args: path: file or folder. inverted: whether points go through its inverse.
    """

    path: pathlib.Path
    inverted: bool = False

    @classmethod
    def parse(cls, text: str) -> TransformArgument:
        """Parses "RESULT", "[RESULT,0]" or "[RESULT,1]"; an existing path is used unchanged."""
        found = re.fullmatch(r"\[\s*(.+?)\s*,\s*([01])\s*\]", text)
        if found is None or pathlib.Path(text).exists():
            return cls(pathlib.Path(text))
        return cls(pathlib.Path(found[1]), found[2] == "1")

    def __str__(self):
        return f"the inverse of {self.path}" if self.inverted else str(self.path)


def read_chain(arguments: list[TransformArgument], inverse: bool) -> tuple:
    """The map that the options describe.

    Args: arguments: list of TransformArgument. inverse: whether to invert the whole chain.
    Returns: (Chain, function without arguments that returns the Grid where the chain starts).
    Raises: FileNotFoundError, ValueError: naming the transform. The function raises ValueError
        if the transform's files do not state the grid.
    """
    from rcn_tf.volumes.transforms.chain import Chain, Link
    from rcn_tf.volumes.transforms.files import read_transform

    links, files = [], []
    for argument in arguments:
        file = read_transform(argument.path)
        links_here = Chain(file.links).inverse().links if argument.inverted else file.links
        links += [Link(one.transform, one.inverted) for one in links_here]
        files.append((file, argument.inverted))
    chain = Chain(links)
    first, inverted = files[0]
    if inverse:
        chain = chain.inverse()
        first, inverted = files[-1][0], not files[-1][1]

    def start_grid():
        grid = first.moving_grid() if inverted else first.fixed_grid()
        if grid is None:
            scan = "moving" if inverted else "fixed"
            raise ValueError(
                f"needs --reference, an image on the grid of the result: {first.path} does not "
                f"state the {scan} image's grid"
            )
        return grid

    return chain, start_grid


def described(arguments: list[TransformArgument], inverse: bool) -> str:
    """The transforms that a point goes through, in words: "A, then the inverse of B"."""
    turned = [
        TransformArgument(one.path, one.inverted != inverse)
        for one in (arguments[::-1] if inverse else arguments)
    ]
    return ", then ".join(map(str, turned))

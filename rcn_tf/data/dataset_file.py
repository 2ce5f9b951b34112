"""The keys of a dataset config and their types, as its JSON file has them.

What they mean is said in `rcn_tf.data.dataset_config`, which checks what lies inside the mappings.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, Literal, Optional, Union

from rcn_tf.files.json_files import read_json
from rcn_tf.settings.fields import build, convert_fields


@dataclasses.dataclass(frozen=True)
class DatasetFile:
    """A dataset config as it is written."""

    files: Mapping
    image_size: Union[int, tuple]
    image_type: Literal["liver", "brain", "lung", "heart", "knee"]
    schemes: Mapping
    subsets: Mapping
    atlas: Optional[str] = None
    paired: Union[bool, tuple] = False
    fixed: Optional[str] = None
    pairing: Optional[Literal["same_subject", "different_subjects"]] = None
    pair_counts: Mapping = dataclasses.field(default_factory=dict)
    segmentation_class_value: Optional[Mapping] = None
    task: Any = None  # of the original's configs, not used
    exclude: Union[str, tuple] = ()
    expected: Mapping = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        convert_fields(self)


def read_dataset_file(path: pathlib.Path) -> DatasetFile:
    """Reads a dataset config without a look at what lies inside its mappings.

    Raises:
        FileNotFoundError: no such file.
        KeyError, ValueError: naming the file and the key.
    """
    raw = read_json(path)
    try:
        return build(DatasetFile, raw)
    except (KeyError, ValueError) as error:
        raise type(error)(f"{path}: {error.args[0]}") from error

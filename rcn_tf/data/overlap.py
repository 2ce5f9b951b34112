"""Which scans two subsets share: a score on what a model was trained on says little."""


def scheme_scans(config, scheme):
    """Scans of a scheme's subsets, each once.

    Args: config: DatasetConfig. scheme: name, "1" for training, "2" for validation.
    Returns: list of scan ids; empty where there is no such scheme.
    Raises: as `DatasetConfig.subset`.
    """
    subsets = config.schemes.get(str(scheme), ())
    return list(dict.fromkeys(scan for name in subsets for scan in config.subset(name)))


def shared_scans(config, first="1", second="2"):
    """Scans that two schemes have both; the atlas, part of every pair, does not count.

    Args: config: DatasetConfig. first, second: names of schemes.
    Returns: list of scan ids, in the order of `second`.
    Raises: as `DatasetConfig.subset`.
    """
    mine = set(scheme_scans(config, first)) - {config.atlas}
    return [scan for scan in scheme_scans(config, second) if scan in mine]

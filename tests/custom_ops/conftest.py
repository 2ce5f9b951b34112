"""Fixtures for the tests of the native op, which skip with a reason if it is absent."""

import pytest


@pytest.fixture(scope="session")
def native():
    """Module with the raw ops; skips if they cannot be built."""
    from custom_ops import loader

    if loader.missing_because() is not None:
        pytest.skip(f"the native op cannot be had: {loader.missing_because()}")
    return loader.library()


@pytest.fixture(scope="session")
def compiler():
    """Path of a C++ compiler; skips if there is none."""
    from custom_ops import toolchain

    if toolchain.find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    return toolchain.find_compiler()

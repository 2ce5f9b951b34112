"""What the tests of the native op need: the op itself, or the reason why it is absent."""

import pytest


@pytest.fixture(scope="session")
def native():
    """Module with the raw ops; skips where they cannot be built."""
    from custom_ops import loader

    if loader.missing_because() is not None:
        pytest.skip(f"the native op cannot be had: {loader.missing_because()}")
    return loader.library()


@pytest.fixture(scope="session")
def compiler():
    """Path of a C++ compiler; skips where there is none."""
    from custom_ops import toolchain

    if toolchain.find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    return toolchain.find_compiler()

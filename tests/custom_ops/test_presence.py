"""If there is a compiler, the native op must run; otherwise its tests would skip unnoticed."""

from custom_ops import loader


def test_the_native_op_is_there_and_passes_its_own_check(compiler):
    assert loader.missing_because() is None

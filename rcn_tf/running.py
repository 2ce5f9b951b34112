"""How every command line of this project runs: errors become one line and an exit code.

The exit code is the command's own (None counts as 0), 2 if something is wrong with the input, or
130 if the user interrupts. RCN_DEBUG=1 shows the traceback instead of the line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from rcn_tf.errors import is_for_the_user, one_line


def run_command(name: str, command: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit code.

    Args:
        name: the beginning of error lines, such as "rcn train".
        command: a function without arguments that returns an exit code or None.
    Raises: the command's exception, if it is a fault of the program or RCN_DEBUG is set.
    """
    try:
        return command() or 0
    except Exception as error:
        if os.environ.get("RCN_DEBUG") or not is_for_the_user(error):
            raise
        sys.stderr.write(f"{name}: error: {one_line(error)}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        return 130

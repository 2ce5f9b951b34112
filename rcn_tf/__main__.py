"""`python -m rcn_tf` is the `rcn` command, with the working directory on the module path."""

import sys

from rcn_tf.commands.main import main

if __name__ == "__main__":
    sys.exit(main())

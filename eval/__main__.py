"""`python -m eval`: see `eval.command`."""

import sys

from eval.command import main

sys.exit(main())

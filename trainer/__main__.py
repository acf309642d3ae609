"""`python -m trainer COMMAND`: the terminal's way in, inside the environment."""

import sys

from .terminal.cli import main

sys.exit(main())

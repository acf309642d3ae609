"""`python -m trainer COMMAND`: the terminal's entry point, inside the environment."""

import sys

from .terminal.cli import main

sys.exit(main())

"""The heavy half: everything that needs torch; it runs in its own process."""

import sys

# peft imports bitsandbytes wherever it is installed, for layers that are not used here. That takes
# two seconds of every start. `device.libraries` shows it to a job that needs it.
sys.modules.setdefault("bitsandbytes", None)  # pyright: ignore - Python's way to block an import

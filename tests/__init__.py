"""Two tests run at once, so each process, and each that a test starts, computes on one core."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

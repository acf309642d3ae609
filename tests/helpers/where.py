"""Prints which `trainer` a process got, and whether Python is in UTF-8 mode."""

import sys

import trainer

print(trainer.__file__, sys.flags.utf8_mode, ascii("é"))

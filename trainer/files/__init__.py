"""Files that are whole or absent, locks, disk space, fingerprints."""

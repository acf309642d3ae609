"""Every setting: what it is, what it may be, and the presets."""

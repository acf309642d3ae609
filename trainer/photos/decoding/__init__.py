"""From a photo's bytes to upright sRGB pixels: the formats, their bounds and their colors."""

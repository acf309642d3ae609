"""DreamBooth for Stable Diffusion 1.x, 2.x and SDXL; knows no host, imports nothing heavy."""

__version__ = "0.1.0"

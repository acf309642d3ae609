"""DreamBooth for Stable Diffusion 1.x, 2.x and SDXL; no host, no heavy imports."""

__version__ = "0.1.0"

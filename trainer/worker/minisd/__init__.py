"""Mini Stable Diffusion: a tiny model, and the captioned synthetic images that train it."""

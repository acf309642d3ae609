"""Mini Stable Diffusion: captioned pictures, drawn by formulas, that train a tiny model."""

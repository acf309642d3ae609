"""ComfyUI nodes: thin adapters over trainer/, one family per file."""

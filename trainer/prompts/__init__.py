"""Prompts as CLIP reads them."""

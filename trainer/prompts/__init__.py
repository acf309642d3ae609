"""Prompts as CLIP tokens."""

"""The frozen base model, loaded part by part from its file."""

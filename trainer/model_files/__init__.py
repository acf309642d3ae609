"""What a model file is, identified from its header."""

"""What is trained, and the files it is saved to."""

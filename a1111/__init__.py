"""The AUTOMATIC1111 and Forge tab: thin adapters around the trainer."""

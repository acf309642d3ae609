"""The tab for AUTOMATIC1111 and Forge: thin adapters round the trainer."""

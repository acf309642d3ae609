"""The user's photos: found, decoded upright, cropped, reported on."""

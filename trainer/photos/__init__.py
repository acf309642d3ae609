"""The user's photos: finding, decoding, cropping and reporting on them; class images."""

"""Images sampled from the model: class images, samples, comparisons."""

"""Each loss once, with its source. All return a float32 scalar: the mean over the batch."""

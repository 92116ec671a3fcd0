"""Reading and writing images, masks and annotations: one module per format, one ordered table of readers."""

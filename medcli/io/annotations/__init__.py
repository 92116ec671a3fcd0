"""One module per annotation format: each turns a file into boxes in pixels, half-open at the far edge."""

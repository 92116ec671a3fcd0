"""From raw cases to a prepared folder: fingerprint, plan, the one function that prepares an image, splits."""

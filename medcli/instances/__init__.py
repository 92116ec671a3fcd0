"""Single objects: from maps of class and depth to numbered objects, and how that is chosen on the validation part."""

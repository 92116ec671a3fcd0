"""Several runs as one: the folds of a cross-validation trained one after the other, and ensembles of any like runs."""

"""Is this data set fit to learn from? Leaks, confounded labels, shortcuts, wrong labels, missing groups."""

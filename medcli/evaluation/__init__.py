"""A trained run measured on raw images: numbers with intervals, plots, pictures, a report."""

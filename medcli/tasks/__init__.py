"""What differs between classification, detection and segmentation, and only that."""

"""From a prepared folder to batches: cases in memory or mapped from disk, random patches, augmentation."""

"""The networks: blocks, one builder per architecture, and one readable place that chooses (`choose`)."""

"""How a trained network sees cases beside one another: clusters, neighbours, suspected labels, a picture."""

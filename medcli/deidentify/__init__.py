"""De-identification of medical images: headers, pixels, faces and sidecars."""

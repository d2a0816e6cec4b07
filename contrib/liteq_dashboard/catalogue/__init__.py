"""Parts of the catalogue of texts."""

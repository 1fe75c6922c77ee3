"""One region: manifest, store, vault, courier, profile store."""

"""From an image in a store to lazy levels."""

"""From a plan and lazy levels to an image in a store."""

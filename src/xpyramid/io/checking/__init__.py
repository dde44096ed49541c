"""What is wrong with an image in a store."""

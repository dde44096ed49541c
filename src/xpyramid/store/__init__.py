"""What lies in a store: paths, documents, names, attributes, arrays, and unfinished images."""

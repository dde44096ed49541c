"""Axes, units, coordinates, chunks, levels, tiles: where samples lie; no sample is touched."""

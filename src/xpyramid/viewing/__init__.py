"""Pyramids in viewers, also those that are not written: napari, neuroglancer, or a plain page."""

from xpyramid.viewing.cache import Cache
from xpyramid.viewing.image import ViewedImage
from xpyramid.viewing.napari import layer_kwargs
from xpyramid.viewing.viewers import VIEWERS, View, view

__all__ = ["VIEWERS", "Cache", "View", "ViewedImage", "layer_kwargs", "view"]

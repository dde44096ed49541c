"""From a store back to levels, and to words about what cannot be opened."""

from xpyramid.reader.chunked import DaskChunks
from xpyramid.reader.find import find_images, images_at
from xpyramid.reader.form import StoredForm, StoredLevel, codec_words, stored_form
from xpyramid.reader.labelled import image_of_labels
from xpyramid.reader.open import StoredImage, open_base, open_levels

__all__ = [
    "DaskChunks",
    "StoredForm",
    "StoredImage",
    "StoredLevel",
    "codec_words",
    "find_images",
    "image_of_labels",
    "images_at",
    "open_base",
    "open_levels",
    "stored_form",
]

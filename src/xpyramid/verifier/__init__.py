"""Whether what is stored is what the metadata say."""

from xpyramid.verifier.verify import Report, verify

__all__ = ["Report", "verify"]

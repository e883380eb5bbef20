"""The progress bar under the name that `build` knows it by."""

from ..utils.progress import progress_bar as progress

__all__ = ["progress"]

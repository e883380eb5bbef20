"""The demo page: a picture becomes codes, codes are edited, and the scene changes (docs/demo.md)."""

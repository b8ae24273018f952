"""The figures of the overview page, and the geometry of its charts; no HTML."""

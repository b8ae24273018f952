"""What was wrong with a refused request, found out by trying, and what a person can do about it.

Nothing here shows a secret or a digest: a secret is named by its place in the setting.
"""

from .finding import Finding
from .findings import diagnose

__all__ = ["Finding", "diagnose"]

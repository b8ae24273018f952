"""What a site's own tests are written with: samples, signed posts, and what came of them.

`sample_event`, `sample_delivery` and `call_receiver` need no database.
"""

from .assertions import assert_nothing_received, assert_received
from .posting import signed_post
from .receivers import Collected, call_receiver, collected
from .samples import sample_body, sample_delivery, sample_event

__all__ = [
    "Collected",
    "assert_nothing_received",
    "assert_received",
    "call_receiver",
    "collected",
    "sample_body",
    "sample_delivery",
    "sample_event",
    "signed_post",
]

"""Who may do what: Django's own permissions, all of those that a view asks for."""

from __future__ import annotations

from typing import Any, Final

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ..models import Delivery

VIEW_BODY: Final = "view_delivery_body"
VIEW_RUNS: Final = "view_receiverrun"
# A plan shows what is in deliveries, so that whoever may replay has to be able to view them.
REPLAY: Final = ("view_delivery", "replay_delivery")
ACCEPT: Final = "accept_rejection"


class Rights(BasePermission):
    """Lets in whoever has all the permissions that the view's `rights` name, for any method."""

    message = ""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Say whether the user has them. Without `rights` to name, a view lets nobody in."""
        needed = [f"{Delivery._meta.app_label}.{codename}" for codename in view.rights]
        # A site may have nobody at all stand for an unknown user.
        user: Any = request.user
        if not (needed and user and user.is_authenticated):
            return False
        missing = [permission for permission in needed if not user.has_perm(permission)]
        self.message = f"This needs the permission {' and '.join(missing)}."
        return not missing

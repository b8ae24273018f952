"""What the views share: rows that are listed and shown, and nothing that changes one."""

from __future__ import annotations

from typing import Any, ClassVar

from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import mixins, serializers, viewsets

from .openapi import ApiSchema
from .pagination import NewestFirst
from .permissions import Rights


class ApiViewSet(viewsets.GenericViewSet[Any]):
    """Asks for permissions by name, and depends on no setting of the site for its own views.

    `rights_of` names the permissions that an action needs, without the name of the app; any other
    action needs those under `view`.
    """

    basename: str
    rights_of: ClassVar[dict[str, tuple[str, ...]]]
    permission_classes = (Rights,)
    versioning_class = None
    schema = ApiSchema()

    @property
    def rights(self) -> tuple[str, ...]:
        """The permissions that the action needs."""
        return self.rights_of.get(self.action, self.rights_of["view"])


class RowsViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ApiViewSet):
    """A list with filters and pages, and the detail of each of its rows."""

    filter_backends = (DjangoFilterBackend,)
    pagination_class = NewestFirst
    list_serializer_class: type[serializers.BaseSerializer[Any]]
    lookup_value_regex = "[0-9]{1,18}"

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        """Return what a row of the list is written by, or what a detail is."""
        if self.action == "list":
            return self.list_serializer_class
        return super().get_serializer_class()

"""What the views share: rows that are listed and shown, and nothing that changes one."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend, FilterSet
from rest_framework import mixins, serializers, viewsets
from rest_framework.settings import api_settings

from ..envelope import MAX_NAME_LENGTH
from ..text import one_line
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
    # What an address may say beside the filters.
    parameters: ClassVar[tuple[str, ...]] = (
        "cursor",
        "page_size",
        str(api_settings.URL_FORMAT_OVERRIDE),
    )
    filterset_class: type[FilterSet]
    permission_classes = (Rights,)
    versioning_class = None
    schema = ApiSchema()

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow a list down. Raises ValidationError for a name that is no filter."""
        if self.action == "list":
            self._refuse_unknown({*self.filterset_class.base_filters, *self.parameters})
        return super().filter_queryset(queryset)

    def _refuse_unknown(self, known: set[str]) -> None:
        """Taken for nothing, a misspelt filter would find every row."""
        unknown = self.request.query_params.keys() - known
        if unknown:
            told = {one_line(name, MAX_NAME_LENGTH): ["No such filter."] for name in unknown}
            raise serializers.ValidationError(told)

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

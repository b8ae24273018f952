"""The example site, whose app has the migrations of the rehearsal after its own."""

from example_project.settings import *  # noqa: F403

MIGRATION_MODULES = {"perfsee_webhooks": "proof.rehearsal.migrations"}

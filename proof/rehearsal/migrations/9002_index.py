from django.db import migrations, models

from proof.rehearsal.operations import AddIndexOnline


class Migration(migrations.Migration):
    """Build an index beside the writers."""

    atomic = False
    dependencies = [("perfsee_webhooks", "9001_columns")]
    operations = [
        AddIndexOnline(
            "delivery", models.Index(fields=["event_type", "-received_at"], name="rehearsed")
        )
    ]

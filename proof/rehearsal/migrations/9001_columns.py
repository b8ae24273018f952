from django.db import migrations, models

from proof.rehearsal.migrations import LAST


class Migration(migrations.Migration):
    """Add a column that may be empty, and one that the database fills in."""

    dependencies = [("perfsee_webhooks", LAST)]
    operations = [
        migrations.AddField("delivery", "rehearsed_at", models.DateTimeField(null=True)),
        migrations.AddField("delivery", "rehearsals", models.IntegerField(db_default=0)),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    """Build an index, while no writer can write."""

    dependencies = [("perfsee_webhooks", "9002_index")]
    operations = [
        migrations.AddIndex(
            "delivery", models.Index(fields=["summary", "-received_at"], name="rehearsed_blocking")
        )
    ]

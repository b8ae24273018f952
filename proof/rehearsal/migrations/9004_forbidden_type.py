from django.db import migrations, models


class Migration(migrations.Migration):
    """Change the type of a column, which writes the table anew while nobody can use it."""

    dependencies = [("perfsee_webhooks", "9003_forbidden_index")]
    operations = [
        migrations.AlterField("delivery", "rehearsals", models.BigIntegerField(db_default=0))
    ]

"""Creates a table."""

from django.db import migrations


class Migration(migrations.Migration):
    """One table."""

    dependencies = ()
    operations = (migrations.RunSQL("CREATE TABLE initial (id int)", "DROP TABLE initial"),)

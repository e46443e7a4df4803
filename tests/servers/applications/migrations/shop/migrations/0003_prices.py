"""Creates a table."""

from django.db import migrations


class Migration(migrations.Migration):
    """One table."""

    dependencies = (("shop", "0002_orders"),)
    operations = (migrations.RunSQL("CREATE TABLE prices (id int)", "DROP TABLE prices"),)

"""Creates a table."""

from django.db import migrations


class Migration(migrations.Migration):
    """One table."""

    dependencies = (("shop", "0001_initial"),)
    operations = (migrations.RunSQL("CREATE TABLE orders (id int)", "DROP TABLE orders"),)

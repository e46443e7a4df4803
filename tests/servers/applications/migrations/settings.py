"""Settings of a Django project with one app, for its migrations alone."""

import os
from urllib.parse import urlsplit

_url = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _url.hostname,
        "PORT": _url.port,
        "USER": _url.username,
        "NAME": _url.path[1:],
    }
}
INSTALLED_APPS = ["shop", "django.contrib.contenttypes"]
SECRET_KEY = "of-a-test"
USE_TZ = True

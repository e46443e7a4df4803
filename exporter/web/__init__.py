"""The pages, the JSON API and the scrape over HTTP. They read the state and never start work."""

from exporter.web.app import Options, create_app
from exporter.web.server import bind, serve

__all__ = ["Options", "bind", "create_app", "serve"]

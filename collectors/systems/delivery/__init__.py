"""How content reaches browsers: CDN, compression, HTTP versions, connections that are kept."""

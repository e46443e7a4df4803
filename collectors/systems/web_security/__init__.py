"""How a web application treats browsers and strangers: headers, origins, tokens, input."""

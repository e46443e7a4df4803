"""An API that keeps templates of messages."""

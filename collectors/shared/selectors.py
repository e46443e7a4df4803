"""Selectors of streams and series by their labels."""

from __future__ import annotations

__all__ = ["SELECTOR"]

_MATCHER = r'\s*[a-zA-Z_][a-zA-Z0-9_]*\s*(?:=|!=|=~|!~)\s*(?:"(?:[^"\\]|\\.)*"|`[^`]*`)\s*'
SELECTOR = rf"^\{{{_MATCHER}(?:,{_MATCHER})*\}}$"
"""A selector by labels alone, as Prometheus and Loki write it: `{namespace="shop", app=~"api|web"}`."""

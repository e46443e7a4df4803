"""Paths in the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

__all__ = ["Path"]

Path = Annotated[str, Field(pattern=r"^/[^\s#]*$")]
"""A path below a service's address, with its query if need be."""

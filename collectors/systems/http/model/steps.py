"""Steps of a flow: requests that hand values on to later ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field

from collectors.systems.http.model.conditions import Condition, Expression
from collectors.systems.http.model.paths import Path
from exporter.options import Options, Secret

__all__ = ["Step", "Variable", "fill", "variables_of"]

_VARIABLE = re.compile(r"\$(\$?)\(([^()]*)\)")


Variable = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
"""The name of a value that an answer gives and later requests take."""


def variables_of(text: str) -> set[str]:
    """The names of the variables that a text takes."""
    return {match[2] for match in _VARIABLE.finditer(text) if not match[1]}


def _without_variables(path: str) -> str:
    if _VARIABLE.search(path.partition("?")[0]):
        raise ValueError("expected variables in the query, the headers and the fields only")
    return path


class Step(Options):
    """One request of a flow."""

    name: str = Field(min_length=1, max_length=60, description="What sentences call the step, such as `login`.")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field("GET", description="Method.")
    path: Annotated[Path, AfterValidator(_without_variables)] = Field(
        description="Path below `url`, with its query if need be."
    )
    headers: dict[str, Secret] = Field(
        default_factory=dict, description="Headers to send, such as `Authorization: Bearer $(token)`."
    )
    fields: dict[str, Secret] = Field(default_factory=dict, description="Fields to send, such as user and password.")
    form: bool = Field(False, description="Send the fields as a form instead of JSON.")
    conditions: tuple[Condition, ...] = Field(
        min_length=1, description="What must be true of the answer, in CEL; see `endpoints`."
    )
    extract: dict[Variable, Expression] = Field(
        default_factory=dict,
        description="Variables for later steps, each with what to take out of the answer in CEL, such as `json.access_token` or "
        '`cookies["session"]`.',
    )

    def used(self) -> set[str]:
        """The names of the variables that the step takes."""
        texts = [self.path, *(value.get_secret_value() for value in (*self.headers.values(), *self.fields.values()))]
        return set().union(*map(variables_of, texts))


def fill(text: str, variables: Mapping[str, str], *, quoted: bool = False) -> str:
    """A text with the values of its variables; `quoted` for those in a query."""
    return "".join(_filled(text, variables, (lambda value: quote(value, safe="")) if quoted else str))


def _filled(text: str, variables: Mapping[str, str], as_written: Callable[[str], str]) -> Iterator[str]:
    at = 0
    for match in _VARIABLE.finditer(text):
        yield text[at : match.start()]
        yield match[0][1:] if match[1] else as_written(variables[match[2]])
        at = match.end()
    yield text[at:]

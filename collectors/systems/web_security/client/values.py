"""Values that an application should not trust, and what it answers to them."""

from __future__ import annotations

from dataclasses import replace

from collectors.systems.web_security.client.application import Application
from collectors.systems.web_security.model.looks import Sent, SqlTrial, ValueTrial
from collectors.systems.web_security.model.reflection import CHARACTERS, TAIL, begins_link, encodings
from collectors.systems.web_security.model.routes import Parameter
from collectors.systems.web_security.model.sql import OPERATORS, QUOTES, confirmations, joins, names, nonsense
from collectors.systems.web_security.model.words import word

__all__ = ["try_sql", "try_value", "try_xss"]


async def try_value(application: Application, parameter: Parameter) -> ValueTrial:
    """A value of the right type, then one of another type."""
    control = await application.send_value(parameter, parameter.value)
    sent = "pc7x" if parameter.value.isdecimal() else "not-" + word()
    trial = ValueTrial(control, await application.send_value(parameter, sent), sent)
    if not parameter.value.isdecimal():
        return trial
    if trial.answer.status == 404:
        absent = nonsense(parameter.value)
        trial = replace(trial, absent=Sent(absent, await application.send_value(parameter, absent)))
    odd: dict[str, object] = {"a number and letters": f"{parameter.value}pc7x", "a number of 20 digits": "9" * 20}
    if parameter.name is not None:
        odd["two numbers"] = [parameter.value, parameter.value]
    return replace(trial, odd={what: await application.send_value(parameter, value) for what, value in odd.items()})


async def try_xss(application: Application, parameter: Parameter) -> ValueTrial:
    """A word that is harmless, then the same with the characters that begin and end tags and attributes."""
    sent = f"pc7x{word(4)}"
    control = await application.send_value(parameter, sent)
    answer = await application.send_value(parameter, f"{sent}{CHARACTERS}{TAIL}")
    linked = begins_link(control, sent)
    link = await application.send_value(parameter, f"javascript:{sent}") if linked else None
    encoded = await application.send_value(parameter, encodings(sent))
    return ValueTrial(control, answer, sent, link=link, encoded=encoded)


async def try_sql(application: Application, parameter: Parameter) -> SqlTrial:
    """Quotes, and values that only a database puts together again; where it seems to, values that tell it from a filter."""

    async def send(value: str) -> Sent:
        return Sent(value, await application.send_value(parameter, value))

    value = parameter.value
    where = f"parameter {parameter.name}" if parameter.name else f"the last part of {parameter.path}"
    baseline = (await send(value), await send(value))
    trial = SqlTrial(where, baseline, await send(nonsense(value)), {}, {}, {})
    quotes = {mark: (await send(value + mark)).reply for mark in QUOTES}
    quotes |= {mark * 2: (await send(value + mark * 2)).reply for mark in ("'", '"') if quotes[mark].status >= 500}
    joined, confirmed = {}, {}
    for database, text in (joins(value) | names(value)).items() if trial.finds else ():
        joined[database] = await send(text)
        if trial.shows(joined[database]):
            confirmed[database] = tuple([await send(other) for other in confirmations(value, database)])
    operators = await _try_operators(application, parameter) if trial.finds and parameter.name is not None else {}
    return replace(trial, quotes=quotes, joins=joined, confirmations=confirmed, operators=operators)


async def _try_operators(application: Application, parameter: Parameter) -> dict[str, tuple[Sent, Sent]]:
    """The value as what an operator of a document store has to find, and nonsense as the same."""

    async def send(operator: str, value: str) -> Sent:
        given = [value] if operator == "$in" else f"^{value}$" if operator == "$regex" else value
        if parameter.post == "json":
            return Sent(value, await application.send_value(parameter, {operator: given}))
        several = "[]" if operator == "$in" else ""
        return Sent(value, await application.send_value(parameter, given, f"[{operator}]{several}"))

    return {
        operator: (await send(operator, parameter.value), await send(operator, nonsense(parameter.value)))
        for operator in OPERATORS
    }

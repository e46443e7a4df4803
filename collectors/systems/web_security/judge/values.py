"""What an application does with values that it should not trust."""

from __future__ import annotations

from collections.abc import Iterator

from collectors.systems.web_security.model.looks import Sent, SqlTrial, ValueTrial
from collectors.systems.web_security.model.pages import is_html, reports_error
from collectors.systems.web_security.model.reflection import Context, begins_link, decodes, reflected
from collectors.systems.web_security.model.sql import NAME, NUMBER, database_error
from exporter.reply import Reply
from exporter.verdict import Reason, Result, failed, unknown, warning

__all__ = ["reflection_problems", "sql_problems", "validation_problems"]

_FIREWALL = (403, 405, 406, 418, 419, 501, 503)


def _control_problems(control: Reply) -> Iterator[Result]:
    if not 200 <= control.status < 300:
        yield unknown(
            f"{control.where} answered {control.status} to a value that is fine, so its other answers show nothing.",
            reason=Reason.DENIED if control.status in (401, 403) else Reason.MALFORMED,
        )


def _refusal(reply: Reply, what: str) -> Result:
    return unknown(
        f"The WAF or gateway in front of {reply.where} refuses {what} ({reply.status}), and harmless values not: "
        "the application itself was not checked.",
        reason=Reason.REFUSED,
    )


def validation_problems(trial: ValueTrial) -> Iterator[Result]:
    """A value of the wrong type has to be refused, not taken and not crashed on."""
    control, answer = trial.control, trial.answer
    if 200 <= answer.status < 300 and reports_error(answer) and not reports_error(control):
        yield unknown(
            f"{answer.where} answered {answer.status} to a value of the wrong type with an error in it: whether that is a "
            "refusal is not known.",
            reason=Reason.MALFORMED,
        )
    elif 200 <= control.status < 300 and 200 <= answer.status < 300 and control.body == answer.body != b"":
        yield unknown(
            f"{answer.where} answered the same to {trial.sent} as to a value that is fine: it ignores the value, or puts "
            "another one in its place.",
            reason=Reason.MALFORMED,
        )
    elif 200 <= control.status < 300 and 200 <= answer.status < 300:
        yield failed(f"{answer.where} took {trial.sent} for a value of another type (it answered {answer.status}).")
    elif 200 <= control.status < 300 and answer.status == 500:
        yield failed(
            f"{answer.where} answered 500 to {trial.sent}, where 400 or 422 is expected: the type is not validated."
        )
    yield from _control_problems(control)
    if answer.status == 404 and trial.absent is not None and _same_but_for_values(trial, trial.absent):
        yield unknown(
            f"{answer.where} answered 404 to a value of the wrong type and also to a number that is not there, so it may have "
            "looked for both: validation needs a parameter whose refusal differs.",
            reason=Reason.MALFORMED,
        )
    if answer.status in (400, 404, 422):
        yield from _odd_problems(trial)
    if answer.status in (400, 404, 422) or answer.status < 300 or answer.status == 500:
        return
    if answer.status in _FIREWALL:
        yield _refusal(answer, "a value of the wrong type")
    else:
        yield unknown(
            f"{answer.where} answered {answer.status} to a value of the wrong type, where 400 or 422 is expected.",
            reason=Reason.MALFORMED,
        )


def _odd_problems(trial: ValueTrial) -> Iterator[Result]:
    """Values that a careful check refuses as well: of `1pc7x` some make 1, and what is too long or two may crash the rest."""
    for what, reply in trial.odd.items():
        if reply.status == 500:
            yield warning(
                f"{reply.where} answered 500 to {what}, where 400 or 422 is expected: the value is not validated."
            )
        elif what == "a number and letters" and 200 <= reply.status < 300 and not reports_error(reply):
            yield warning(f"{reply.where} took {what} for a number (it answered {reply.status}).")


def _same_but_for_values(trial: ValueTrial, absent: Sent) -> bool:
    return absent.reply.status == trial.answer.status and absent.reply.text.replace(
        absent.value, ""
    ) == trial.answer.text.replace(trial.sent, "")


def reflection_problems(trial: ValueTrial) -> Iterator[Result]:
    """Characters that begin tags or end attributes must not come back as such in a page."""
    control, answer = trial.control, trial.answer
    context = reflected(answer, trial.sent)
    if context is not None and context is not Context.HARMLESS:
        yield failed(
            f"{answer.where} puts a value into {context.value} of its page as it is, so scripts can be injected."
        )
    if trial.encoded is not None and decodes(trial.encoded, trial.sent):
        yield failed(
            f"{trial.encoded.where} decodes a value once more after it was escaped, so scripts can be injected.",
            reason=Reason.MISCONFIGURED,
        )
    if trial.link is not None and begins_link(trial.link, f"javascript:{trial.sent}"):
        yield failed(
            f"{trial.link.where} puts a value that begins with javascript: into a link as it is, so scripts can be injected."
        )
    yield from _control_problems(control)
    if trial.link is not None and trial.link.status in _FIREWALL:
        yield _refusal(trial.link, "javascript:")
    if answer.status in _FIREWALL:
        yield _refusal(answer, "characters of HTML")
    elif not 200 <= answer.status < 300 and answer.status not in (400, 404, 422):
        yield unknown(f"{answer.where} answered {answer.status} to characters of HTML.", reason=Reason.MALFORMED)
    elif is_html(control) and trial.sent not in control.text:
        yield unknown(
            f"{answer.where} does not show the value in its page, so it shows nothing: xss needs a parameter that is shown.",
            reason=Reason.MALFORMED,
        )
    elif is_html(control) and answer.status < 300 and trial.sent not in answer.text:
        yield unknown(
            f"{answer.where} answered {answer.status} to characters of HTML with a page that does not show the value: "
            "a WAF or the application refused them, and escaping was not checked.",
            reason=Reason.REFUSED,
        )


_HOW = {NUMBER: "computed a number", NAME: "took a comment in the name of a column"}


def sql_problems(trial: SqlTrial) -> Iterator[Result]:
    """Values that reach the database as a part of the statement."""
    baseline = trial.baseline[0].reply
    for database, confirmations in trial.confirmations.items():
        if trial.shows(trial.joins[database]) and not any(trial.shows(other) for other in confirmations):
            how = _HOW.get(database, f"joined two strings as {database} does")
            yield failed(f"SQL can be injected into {trial.parameter} of {baseline.where}: the database {how}.")
    for operator, (same, other) in trial.operators.items():
        if trial.shows(same) and not trial.shows(other):
            yield failed(
                f"Operators can be injected into {trial.parameter} of {baseline.where}: its store took {operator} for a part of "
                "the query, so that others such as $ne find everything."
            )
            break
    yield from _quote_failures(trial)
    yield from _control_problems(baseline)
    if 200 <= baseline.status < 300 and not trial.finds:
        yield unknown(
            f"{baseline.where} answers the same to a value of {trial.parameter} that finds nothing, so it shows nothing: "
            "sql needs a value that finds something.",
            reason=Reason.MALFORMED,
        )
    yield from _sql_unclear(trial)


def _quote_failures(trial: SqlTrial) -> Iterator[Result]:
    known = any(database_error(reply.text) for reply in (*(sent.reply for sent in trial.baseline), trial.absent.reply))
    for mark, reply in trial.quotes.items():
        if not known and database_error(reply.text):
            yield failed(f"{reply.where} answered {mark} in {trial.parameter} with an error of its database.")
            return
    for mark in ("'", '"'):
        single, double = trial.quotes[mark], trial.quotes.get(mark * 2)
        calm = trial.baseline[0].reply.status < 500 and trial.absent.reply.status < 500
        if calm and single.status >= 500 and double is not None and double.status < 400:
            yield failed(
                f"SQL can be injected into {trial.parameter} of {single.where}: it answered {single.status} to {mark} "
                f"and {double.status} to {mark * 2}."
            )


def _sql_unclear(trial: SqlTrial) -> Iterator[Result]:
    tried = {**{f"{mark} in a value": reply for mark, reply in trial.quotes.items() if len(mark.strip(")")) == 1}}
    tried |= {f"values joined as by {database}": sent.reply for database, sent in trial.joins.items()}
    tried |= {
        f"the operator {operator}": same.reply
        for operator, (same, _) in trial.operators.items()
        if same.reply.status < 500
    }
    if not 200 <= trial.baseline[0].reply.status < 300:
        return
    for database, sent in trial.joins.items():
        if 200 <= sent.reply.status < 300 and not trial.shows(sent) and trial.other_page(sent.reply):
            yield unknown(
                f"{sent.reply.where} answered values joined as by {database} with another page than that of a search that finds "
                "nothing: a WAF may have refused them.",
                reason=Reason.REFUSED,
            )
    for what, reply in tried.items():
        if reply.status in _FIREWALL and trial.absent.reply.status not in _FIREWALL:
            yield _refusal(reply, what)
        elif reply.status in (401, 408, 425, 429) or reply.status >= 500:
            yield unknown(f"{reply.where} answered {reply.status} to {what}.", reason=Reason.MALFORMED)

"""`init` writes a first configuration from what is there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from exporter.cli.shared import ExitCode, Refused, prompt, say, write

__all__ = ["init"]


def init(
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Kubeconfig file; the pod's account or the default one otherwise."),
    ] = None,
    context: Annotated[str | None, typer.Option(metavar="NAME", help="Context of the kubeconfig.")] = None,
    namespace: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Look at this namespace only; repeatable.")
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option(metavar="URL", help="A Prometheus that scrapes the product.")
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask on the terminal for what cluster and Prometheus do not show.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write, which must not exist yet.")
    ] = None,
) -> int:
    """Write a commented configuration from what a Kubernetes cluster and a Prometheus show.

    Without an option the cluster is read that `kubectl` would ask; with --ask alone, nothing is read. Only pods, Services,
    Ingresses, CronJobs and the names of API groups are listed. What needs a password or a decision is commented out, with what
    it takes. On standard output, unless --output names a file.
    """
    if output is not None and output.exists():
        raise Refused(f"{output} exists already and was left as it is; choose another file.")
    if ask and not sys.stdin.isatty():
        raise Refused("--ask puts its questions on a terminal, and standard input is none.")
    options: dict[str, Any] = {}
    if kubeconfig is not None:
        options["kubeconfig"] = kubeconfig.absolute()
    if context is not None:
        options["context"] = context
    if namespace:
        options["namespaces"] = tuple(namespace)
    alone = prometheus is None and not ask
    text = asyncio.run(_made(options if options or alone else None, prometheus, ask))
    if output is None:
        write(text)
        return ExitCode.OK
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Refused(f"{output} was not written: {error.strerror}.") from None
    say(f"Wrote {output}. Verify it: checklist-exporter check --config.file={output}", error=True)
    return ExitCode.OK


async def _made(kubernetes: dict[str, Any] | None, prometheus: str | None, ask: bool) -> str:
    from pydantic import ValidationError

    from exporter.catalogue import Catalogue
    from exporter.verdict import ProbeError

    catalogue = Catalogue.load()
    discovery = catalogue.discovery
    try:
        cluster = await discovery.see_cluster(kubernetes) if kubernetes is not None else None
        jobs, alertmanagers = await discovery.see_metrics({"url": prometheus}) if prometheus is not None else ([], [])
    except ProbeError as error:
        raise Refused(error) from None
    except ValidationError as error:
        raise Refused(f"--prometheus: {error.errors(include_input=False)[0]['msg']}.") from None
    headings = {entry.section: entry.heading for entry in catalogue.entries.values()}
    written = {name: str(value) if isinstance(value, Path) else value for name, value in (kubernetes or {}).items()}
    environment, absent, used = "production", frozenset[str](), frozenset[str]()
    if ask:
        environment = prompt("Environment", environment)
        answers = discovery.answered(cluster, _ask)
        cluster, absent, used = answers.cluster, answers.absent, answers.used
    return str(
        discovery.configuration(
            headings,
            written if kubernetes is not None else None,
            cluster,
            prometheus,
            jobs,
            alertmanagers,
            environment=environment,
            absent=absent,
            used=used,
        )
    )


def _ask(question: Any) -> str:
    """The answer of a person, asked until it is one."""
    text = f"{question.text} [y/n, Enter: not known]" if question.choice else question.text
    while True:
        answer = prompt(text)
        if not (problem := question.problem(answer)):
            return answer
        say(problem, error=True)

"""A plug-in that tells a secret in every way that a mistake may: nothing that leaves the process shows it."""

from __future__ import annotations

import time
from pathlib import Path

from tests.attacks.running import PLUGIN, Attacked
from tests.servers.process import wait_until

SECRET = "hunter2CanarySecret"
HEAD = '''"""Telling checks"""
import asyncio, base64, gc, logging, os, sys, threading, traceback, warnings
from exporter.collector import Collector, NoTarget, SectionSettings, item
from exporter.options import Secret
from exporter.verdict import CRITICAL, Result, Status, failed, ok


class Settings(SectionSettings):
    password: Secret


class Dying:
    def __init__(self, text):
        self.text = text

    def __del__(self):
        raise ValueError(self.text)


def raises(text):
    raise ValueError(text)


async def fails(text):
    raise ValueError(text)


class Telling(Collector[Settings, NoTarget]):
    """Telling."""

    Settings = Settings

'''
LINES = {
    "sentence": "return failed(f'It is {secret}.')",
    "base64": "return failed(base64.b64encode(f'user:{secret}'.encode()).decode())",
    "settings": "return failed(repr(self.settings))",
    "measured": "return Result(Status.OK, 'Fine.', {secret: 1.0})",
    "raised": "raise ValueError(secret)",
    "named": "raise type(secret, (Exception,), {})('x')",
    "grouped": "raise ExceptionGroup(secret, [ValueError(secret)])",
    "noted": "error = ValueError('x'); error.add_note(secret); raise error",
    "thread": "threading.Thread(target=raises, args=(secret,), name=secret).start(); return ok('Fine.')",
    "task": "asyncio.ensure_future(fails(secret)); await asyncio.sleep(0.01); gc.collect(); return ok('Fine.')",
    "callback": "asyncio.get_running_loop().call_soon(raises, secret); return ok('Fine.')",
    "exits": "asyncio.get_running_loop().call_soon(sys.exit, secret); return ok('Fine.')",
    "finalizer": "Dying(secret); return ok('Fine.')",
    "warned": "warnings.warn(secret); return ok('Fine.')",
    "logged": "logging.getLogger(secret).error('x %s', secret, stack_info=True); return ok('Fine.')",
    "printed": "print(secret); print(secret, file=sys.stderr, flush=True); return ok('Fine.')",
    "traced": """try:
            raises(secret)
        except ValueError:
            traceback.print_exc()
        return ok('Fine.')""",
}


def test_nothing_that_leaves_the_process_shows_a_secret(tmp_path: Path) -> None:
    own = "".join(f"- [ ] Line {name}\n" for name in LINES)
    (tmp_path / "checklist.md").write_text(f"# Launch\n\n## Telling checks\n\n{own}")
    (tmp_path / "password").write_text(f"{SECRET}\n")
    lines = "\n".join(
        f'    @item("Line {name}", severity=CRITICAL)\n    async def {name}(self) -> Result:\n        """Line."""\n'
        f"        secret = self.settings.password.get_secret_value()\n        {body}\n"
        for name, body in LINES.items()
    )
    section = f"{PLUGIN}: {{every: 1s, password_file: password}}"
    configuration = f"checklist: checklist.md\nstate: {{file: history.db}}\nsections: {{{section}}}\n"
    with Attacked(tmp_path, configuration, plugin=HEAD + lines) as exporter:
        wait_until(lambda: exporter.item(PLUGIN, "traced")["last_run"], what="it runs", deadline=60)
        time.sleep(1.5)  # once more, with what was left behind
        paths = ["/", "/metrics", "/api/v1/items", "/api/v1/transitions", "/-/healthy"]
        shown = {path: exporter.get(path) for path in [*paths, *(f"/items/{PLUGIN}/{name}" for name in LINES)]}
        exporter.stop()
        shown["log"] = exporter.logged()
    assert shown["log"].count("<secret>") > len(LINES)
    assert [name for name, text in shown.items() if SECRET in text] == []
    assert not any(SECRET.encode() in file.read_bytes() for file in tmp_path.glob("history.db*"))

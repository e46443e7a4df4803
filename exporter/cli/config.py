"""`config check` validates a configuration."""

from __future__ import annotations

from exporter.cli.shared import ConfigFile, ExitCode, load, say

__all__ = ["check_config"]


def check_config(config_file: ConfigFile = None) -> int:
    """Validate the configuration and report all errors. Exits 0 or 3."""
    loaded = load(config_file)
    verified = sum(bool(planned.targets) for planned in loaded.plan.items)
    sections = len({job.section for job in loaded.plan.jobs})
    name = config_file or "The default configuration"
    say(f"{name} is valid: {sections} sections verify {verified} of {len(loaded.plan.items)} lines.")
    return ExitCode.OK

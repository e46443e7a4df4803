"""What a real Alertmanager answers in the states that `test_judge_recorded.py` judges."""

from dataclasses import dataclass
from pathlib import Path

from collectors.systems.alertmanager.client import AlertmanagerSettings, Member
from collectors.systems.alertmanager.model.alerts import HeldAlert, MemberStatus, Silence
from tests.recordings import Record, record
from tests.servers.alertmanager import Alertmanager
from tests.servers.process import wait_until
from tests.servers.prometheus import NEW

__all__ = ["record"]


@dataclass(frozen=True)
class Facts:
    """What the client reads of one Alertmanager."""

    status: MemberStatus
    alerts: list[HeldAlert]
    silences: list[Silence]


async def answers(server: Alertmanager) -> Facts:
    """All of it, asked anew."""
    member = Member(AlertmanagerSettings.model_validate({"url": server.url}), server.url)
    try:
        return Facts(await member.status(), await member.alerts(), await member.silences())
    finally:
        await member.close()


async def test_an_alert_that_is_routed_and_one_that_is_silenced(tmp_path: Path, record: Record) -> None:
    with Alertmanager(tmp_path, release=NEW) as server:
        names = {str(server.port): "9093", str(server.cluster_port): "9094", str(tmp_path): "/etc/alertmanager"}
        record("alertmanager", "watchdog_missing", await answers(server), names=names)
        server.alert(alertname="Watchdog", severity="none")
        wait_until(lambda: [held for held in server.alerts() if held["status"]["state"] == "active"], "Watchdog")
        record("alertmanager", "healthy", await answers(server), names=names)
        server.silence(alertname="Watchdog")
        wait_until(lambda: [held for held in server.alerts() if held["status"]["state"] == "suppressed"], "the silence")
        record("alertmanager", "watchdog_silenced", await answers(server), names=names)

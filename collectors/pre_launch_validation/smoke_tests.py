"""Smoke Tests"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Self, TypeVar

from pydantic import Field, model_validator

from collectors.shared import stores
from collectors.shared.verdicts import verdict
from collectors.systems.canary.client.cache import cache_trips
from collectors.systems.canary.client.database import row_trips
from collectors.systems.canary.client.options import CacheOptions, DatabaseOptions, QueueOptions
from collectors.systems.canary.client.queue import queue_trip
from collectors.systems.canary.judge import cache_problems, queue_problems, row_problems, unwritten
from collectors.systems.canary.model import CacheTrip, RowTrip
from collectors.systems.http.check.endpoints import see_endpoints
from collectors.systems.http.check.flows import see_flow
from collectors.systems.http.check.pipelines import see_pipeline
from collectors.systems.http.model.apis import Endpoints, Pipeline
from collectors.systems.http.model.flows import Flow
from exporter.collector import Collector, SectionSettings, Target, item
from exporter.options import Duration, format_duration
from exporter.verdict import CRITICAL, WARNING, ProbeError, Reason, Result, ok
from exporter.words import counted, listed

T = TypeVar("T")


class SmokeTarget(Target):
    """One application with its API and its stores."""

    allow_intrusive: bool = Field(
        False,
        description="Whether rows, keys and messages of one's own may be written, a synthetic user logged in, and requests sent "
        "that are no GET; without it those lines are unknown.",
    )
    api: Endpoints | None = Field(None, description="The API and the endpoints to ask.")
    authentication: Flow | None = Field(None, description="The login of a synthetic user, and what follows.")
    database: DatabaseOptions | None = Field(None, description="The database in which a row is written and read back.")
    cache: CacheOptions | None = Field(None, description="The cache in which a key is written and read back.")
    queue: QueueOptions | None = Field(None, description="The queue through which a message is sent.")
    ai_pipeline: Pipeline | None = Field(
        None, description="The pipeline that is asked a question, and what that may cost."
    )


class SmokeSettings(SectionSettings):
    """Options of the section."""

    every: Duration = Field(timedelta(minutes=5), gt=timedelta(0), description="How often the section is verified.")
    timeout: Duration = Field(
        timedelta(seconds=40), gt=timedelta(0), description="How long one item may take before it is `unknown`."
    )
    targets: tuple[SmokeTarget, ...] = Field(min_length=1, description="The applications to try.")

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        for target in self.targets:
            if target.ai_pipeline is not None and target.ai_pipeline.longest >= self.timeout:
                raise ValueError(
                    f"expected the section's `timeout` to be longer than a run of {target.name}'s ai_pipeline may take "
                    f"({format_duration(target.ai_pipeline.longest)})"
                )
        return self


class SmokeTests(Collector[SmokeSettings, SmokeTarget]):
    """Asks endpoints, logs a synthetic user in, and writes a random value of its own to each store, which expires."""

    Settings = SmokeSettings
    Target = SmokeTarget
    rights = """\
In the PostgreSQL database (the role can do nothing else):
  CREATE ROLE checklist_canary LOGIN PASSWORD 'PASSWORD' CONNECTION LIMIT 3;
  CREATE SCHEMA checklist;
  CREATE TABLE checklist.canary (name text PRIMARY KEY, nonce text NOT NULL, written timestamptz NOT NULL);
  GRANT USAGE ON SCHEMA checklist TO checklist_canary;
  GRANT SELECT, INSERT, UPDATE, DELETE ON checklist.canary TO checklist_canary;
In Redis:
  ACL SETUSER checklist_canary on >PASSWORD resetkeys ~checklist:* -@all +set +get +pttl +del +cluster|slots
In NATS, publish:
  CHECKLIST.canary, $JS.API.STREAM.INFO.CHECKLIST, $JS.API.STREAM.CREATE.CHECKLIST, $JS.API.CONSUMER.CREATE.CHECKLIST,
  $JS.API.CONSUMER.MSG.NEXT.CHECKLIST.*, $JS.API.CONSUMER.DELETE.CHECKLIST.*
In NATS, subscribe:
  _INBOX_checklist.>
"""

    @classmethod
    def relies_on(cls, target: SmokeTarget) -> Mapping[str, Iterable[str]]:
        """The stores that canaries are written to."""
        found: dict[str, Iterable[str]] = {}
        if target.database:
            found["database_read_write"] = stores.postgresql(target.database.dsn)
        if target.cache:
            found["cache_read_write"] = stores.redis([target.cache.address])
        if target.queue:
            found["message_queue_publish_consume"] = stores.nats([target.queue.address])
        return found

    def _allowed(self, options: T | None, name: str) -> T:
        """The options of what may be tried; raises ProbeError where there are none, or it may not."""
        target = self.target.name
        if options is None:
            raise ProbeError(f"{name} of {target} is not configured, so it was not tried.", Reason.NOT_CONFIGURED)
        if not self.target.allow_intrusive:
            raise ProbeError(
                f"The {name} of {target} was not tried, as more than reading is needed; set `allow_intrusive: true` on the target.",
                Reason.NOT_CONFIGURED,
            )
        return options

    @item("All critical API endpoints respond correctly", severity=CRITICAL, needs=("api",))
    async def critical_endpoints_respond(self) -> Result:
        """An endpoint that answers 200 may answer with an error, a login page, or what a cache still has.

        Each of `api.endpoints` is asked, and its answer must meet the conditions, written in CEL, on status, headers, cookies,
        JSON body and latency. Redirects are not followed. Without a condition on the status, 2xx is required.

        How to fix it: the sentence gives the condition and what was observed; look for the request in the service's log.
        """
        if (api := self.target.api) is None:
            raise ProbeError(f"`api` of {self.target.name} is not configured.", Reason.NOT_CONFIGURED)
        return await see_endpoints(
            api, self.context.memory, self.context.now(), allow_intrusive=self.target.allow_intrusive
        )

    @item("User authentication flow works", severity=CRITICAL, needs=("allow_intrusive", "authentication"))
    async def authentication_flow_works(self) -> Result:
        """A login that hands out tokens which no endpoint accepts, or which outlive the logout, works for nobody or for too many.

        With `allow_intrusive`, a synthetic user goes through `authentication.steps`, at most once in five minutes: log in, use
        the token, refresh it, log out, and see the old token refused. The first step that succeeds with a token must not do so
        with a forged one. After a login that was refused nothing is sent for an hour, so that no account is locked.

        How to fix it: the sentence gives the step, the condition and what was observed.
        """
        flow = self._allowed(self.target.authentication, "authentication")
        return await see_flow(flow, self.context.memory, self.context.now())

    @item("Database read/write operations work", severity=CRITICAL, needs=("allow_intrusive", "database"))
    async def database_read_write(self) -> Result:
        """A database that answers queries may still refuse writes: a standby, a full disk, a default that is read-only.

        With `allow_intrusive`, a row with a random value is committed to `checklist.canary`, read back by a second transaction
        within `max_latency`, and observed on every standby that `dsn` names within `max_lag`. Each target has one row.

        How to fix it: the sentence gives what the server answered; point the applications to the primary, free its disk, or
        repair the standby that is named.
        """
        options = self._allowed(self.target.database, "database")
        nonce = secrets.token_hex(16)
        trips = await row_trips(options, f"{self.context.environment}/{self.target.name}", nonce)
        primaries = [trip for trip in trips if isinstance(trip, RowTrip) and not trip.standby]
        standbys = len(trips) - len(primaries)
        also = f", and so does {counted(standbys, 'standby', 'standbys')}" if standbys else ""
        good = ok(
            f"PostgreSQL at {listed(trip.where for trip in primaries)} gives back a row that was committed{also}."
            if primaries
            else "",
            seconds=max((trip.seconds for trip in primaries), default=0.0),
        )
        return verdict(row_problems(trips, nonce, options.max_latency, options.max_lag), good)

    @item("Cache read/write operations work", severity=CRITICAL, needs=("allow_intrusive", "cache"))
    async def cache_read_write(self) -> Result:
        """A cache that answers PING may refuse every write: a replica, a full memory, a disk that cannot be written.

        With `allow_intrusive`, a key with a random name and value is set for 30 seconds, read back within `max_latency` and
        deleted; in a cluster one key on every master.

        How to fix it: the sentence gives what the server answered; point the applications to the master, or give it memory, an
        eviction policy, or a disk with space.
        """
        options = self._allowed(self.target.cache, "cache")
        nonce = secrets.token_hex(16)
        trips = await cache_trips(options, nonce)
        good = ok(
            f"{options.address} gives back a key that was set{f' on each of {len(trips)} masters' if len(trips) > 1 else ''}.",
            seconds=max((trip.seconds for trip in trips if isinstance(trip, CacheTrip)), default=0.0),
        )
        return verdict(cache_problems(trips, nonce, options.max_latency), good)

    @item("Message queue publish/consume works", severity=CRITICAL, needs=("allow_intrusive", "queue"))
    async def message_queue_publish_consume(self) -> Result:
        """A NATS that has lost its quorum still lets clients in and carries plain messages, while streams store nothing.

        With `allow_intrusive`, a random message is published to the stream `CHECKLIST` (made where there is none, with
        `replicas` copies, ten messages and five minutes), acknowledged, and delivered by a consumer within `max_latency`.

        How to fix it: the sentence gives what the server answered; bring the servers back of which the quorum is made, or free
        the storage of JetStream.
        """
        options = self._allowed(self.target.queue, "queue")
        nonce = secrets.token_hex(16)
        try:
            trip = await queue_trip(options, nonce)
        except ProbeError as why:
            return unwritten(why)
        good = ok(
            f"NATS {trip.where} stored a message in {counted(trip.copies, 'copy', 'copies')} and delivered it.",
            seconds=trip.seconds,
        )
        return verdict(queue_problems(trip, nonce, options.max_latency), good)

    @item("AI processing pipeline works", severity=WARNING, needs=("allow_intrusive", "ai_pipeline"))
    async def ai_pipeline_works(self) -> Result:
        """A pipeline whose model is gone often answers 200 all the same, with an apology, a fallback or what a cache still has.

        With `allow_intrusive`, `ai_pipeline.path` is asked a question with fresh values in it, and the answer, or the result that
        `poll` waits for, must meet the conditions, written in CEL. It is asked once in `every`, at most `max_runs_per_day` times,
        and not when `max_usage_per_day` would be exceeded; in between the last verdict is repeated. More than `max_usage` for one
        run fails.

        How to fix it: the sentence gives the condition and what was observed; look for the model, its quota and the worker that
        takes the jobs.
        """
        pipeline = self._allowed(self.target.ai_pipeline, "ai_pipeline")
        recalled = self.context.recall("ai_pipeline_works") if self.context.recall else {}
        return await see_pipeline(pipeline, self.context.memory, recalled, self.context.now())

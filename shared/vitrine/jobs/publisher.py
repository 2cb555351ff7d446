"""Publishing messages to the workers, and reading the queues.

Create the job's record first and publish second: if the message is lost, the sweeper publishes it again.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from vitrine.errors import BrokerUnavailable
from vitrine.jobs import JobRecord, open_redis
from vitrine.jobs.celery import PROFILE_OF, PROFILES, Message, Queue, Task, celery_app, first_message
from vitrine.jobs.redis import as_broker_error, broker_errors
from vitrine.settings import CommonSettings
from vitrine.telemetry import current_request_id


class JobPublisher:
    """Sends each message to the broker of its queue. Thread-safe. Does not connect before the first call.

    Calls block for milliseconds, or a few seconds if Redis is down: run them in a thread under asyncio. They raise
    BrokerUnavailable.
    """

    def __init__(self, settings: CommonSettings) -> None:
        url = settings.redis_url
        self._apps: dict[str, Celery] = {profile.name: celery_app(profile, redis_url=url) for profile in PROFILES}
        self._redis: redis.Redis = open_redis(url)

    def publish(self, record: JobRecord) -> None:
        """Send a job's first message. Publishing a job twice does no harm."""
        self.send(first_message(record), request_id=record.request_id)

    def send(self, message: Message, *, request_id: str | None = None) -> None:
        app = self._apps[PROFILE_OF[message.queue].name]
        headers: dict[str, Any] = {"job_id": message.job_id, "batch": message.batch}
        known_id = request_id or current_request_id()
        if known_id is not None:
            headers["request_id"] = known_id
        try:
            app.send_task(
                message.task.value, args=message.args, queue=message.queue.value, headers=headers, ignore_result=True
            )
        except (OperationalError, OSError, redis.RedisError) as error:
            cause = error.__cause__ if isinstance(error, OperationalError) else error
            known = as_broker_error(cause) if isinstance(cause, redis.RedisError) else None
            raise known or BrokerUnavailable("the job queue cannot be reached; try again shortly") from error

    def waiting_count(self, queue: Queue) -> int:
        """The number of messages in a queue that no worker has taken."""
        with broker_errors():
            return int(self._redis.llen(self._key(queue)))

    def waiting(self, queue: Queue) -> set[Message]:
        """The messages in a queue that no worker has taken."""
        with broker_errors():
            raw = self._redis.lrange(self._key(queue), 0, -1)
        return {message for message in (_parse(entry) for entry in raw) if message is not None}

    def close(self) -> None:
        for app in self._apps.values():
            app.close()
        self._redis.close()

    @staticmethod
    def _key(queue: Queue) -> str:
        return PROFILE_OF[queue].key_prefix + queue.value


def _parse(entry: Any) -> Message | None:
    """The message of a queue's entry, or None if it is not one of Vitrine's."""
    try:
        envelope = json.loads(entry)
        args = json.loads(base64.b64decode(envelope["body"]))[0]
        return Message(Task(envelope["headers"]["task"]), str(args[0]), int(args[1]) if len(args) > 1 else None)
    except (ValueError, KeyError, TypeError, IndexError):
        return None

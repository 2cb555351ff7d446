"""Celery as Vitrine uses it: one profile for all, publishing, signs of life, and the sweeper that brings lost work
back.

    JobPublisher(settings)     for whoever creates jobs; `producer(settings)` is the same
        .publish(record)       send a job's first message, after its record was created; BrokerUnavailable
        .send(Message(...))    send any message
        .close()

Running a worker is in `vitrine.worker.runner`, which the services' `__main__` import after they set REMAP_SIGTERM.
"""

from vitrine.worker.messages import Message, Queue, Task, first_message
from vitrine.worker.profile import INDEX, TRAIN, Profile, celery_app, check_profile
from vitrine.worker.publisher import JobPublisher, producer

__all__ = [
    "INDEX",
    "TRAIN",
    "JobPublisher",
    "Message",
    "Profile",
    "Queue",
    "Task",
    "celery_app",
    "check_profile",
    "first_message",
    "producer",
]

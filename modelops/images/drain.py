"""Lets a Dask worker that is told to end finish what it runs.

"dask worker" itself leaves at once on SIGTERM, and its tasks run again elsewhere. With
--no-nanny --preload drain.py it takes nothing more, finishes the tasks that run, sees
that their results are with the client or with another worker, and ends with exit code 0.
How long that may take is for whoever sent the signal: Kubernetes and Docker kill after
the time that they were told. A second SIGTERM ends it at once.
"""

import asyncio
import logging
import signal

LOOK_SECONDS = 0.5

log = logging.getLogger("distributed.worker.drain")


async def dask_setup(worker):
    loop = asyncio.get_running_loop()

    def told():
        loop.remove_signal_handler(signal.SIGTERM)  # the next one has its usual effect
        loop.draining = loop.create_task(drain(worker))  # a loop alone keeps no task

    loop.add_signal_handler(signal.SIGTERM, told)


async def drain(worker):
    log.info("SIGTERM: %s tasks run and are finished, none is begun", running(worker))
    try:
        await leave(worker)
    except OSError as problem:
        log.warning("the scheduler does not answer, and nobody waits for results: %s", problem)
    await worker.close(reason="drained")


async def leave(worker):
    """Returns when nothing runs, and the scheduler says that what this worker has is
    elsewhere. It is asked again as results come: it moves what is there at the time."""
    idle = False
    while True:
        left = await worker.scheduler.retire_workers(workers=[worker.address], close_workers=False, remove=False)
        if idle and (worker.address in left or not worker.data):
            return
        idle = not running(worker)
        await asyncio.sleep(LOOK_SECONDS)


def running(worker):
    return worker.state.executing_count + len(worker.state.long_running)

"""Decides how many workers there are. It runs in the scheduler ("dask scheduler --preload
scale.py"), which alone knows what there is to do and who is idle.

More are asked for as soon as there are more tasks than threads; a client that is connected,
such as a job's driver, is worth one worker. Fewer, when for a while there was less to do:
those that are idle are told to take nothing more, and marked as the first to go, before the
Deployment gets smaller. Should the cluster end another one all the same, it finishes what it
runs: so the worker's image has it.
"""

import asyncio
import json
import logging
import math
import os
import ssl
import time
import urllib.request

LOOK_SECONDS = float(os.environ.get("MODELOPS_LOOK_SECONDS", "5"))
ACCOUNT = os.environ.get("MODELOPS_SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount")
COST = "controller.kubernetes.io/pod-deletion-cost"

log = logging.getLogger("distributed.scheduler.scale")


async def dask_setup(scheduler):
    loop = asyncio.get_running_loop()
    scheduler.modelops_scaler = loop.create_task(Scaler(scheduler, Deployment()).run())  # a loop alone keeps no task


class Deployment:
    """The workers, as the cluster's API has them."""

    def __init__(self):
        self.server = "https://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}".format_map(os.environ)
        self.namespace, self.name = os.environ["MODELOPS_NAMESPACE"], os.environ["MODELOPS_WORKERS"]
        self.tls = ssl.create_default_context(cafile=os.path.join(ACCOUNT, "ca.crt"))

    def call(self, path, patch=None):
        with open(os.path.join(ACCOUNT, "token")) as f:  # it changes every hour
            headers = {"Authorization": "Bearer " + f.read().strip(), "Content-Type": "application/merge-patch+json"}
        body = None if patch is None else json.dumps(patch).encode()
        request = urllib.request.Request(self.server + path, body, headers, method="GET" if patch is None else "PATCH")
        with urllib.request.urlopen(request, timeout=20, context=self.tls) as answer:
            return json.load(answer)

    @property
    def path(self):
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.name}/scale"

    def size(self):
        return self.call(self.path)["spec"].get("replicas", 0)

    def resize(self, count):
        self.call(self.path, {"spec": {"replicas": count}})

    def first_to_go(self, pod):
        self.call(f"/api/v1/namespaces/{self.namespace}/pods/{pod}", {"metadata": {"annotations": {COST: "-100"}}})


class Scaler:
    def __init__(self, scheduler, deployment, clock=time.monotonic):
        self.scheduler, self.deployment, self.clock = scheduler, deployment, clock
        self.least, self.most = int(os.environ["MODELOPS_MIN_WORKERS"]), int(os.environ["MODELOPS_MAX_WORKERS"])
        self.threads = int(os.environ["MODELOPS_WORKER_THREADS"])
        self.patience = float(os.environ["MODELOPS_IDLE_SECONDS"])
        self.needed = clock()  # when as many workers as there are were last needed
        self.idle = {}  # since when, by worker

    async def run(self):
        while True:
            try:
                await self.look()
            except Exception as problem:  # the cluster's API is away: the next look may find it
                log.warning("the workers cannot be counted: %s", problem)
            await asyncio.sleep(LOOK_SECONDS)

    def wanted(self):
        tasks = len(self.scheduler.unrunnable) + len(self.scheduler.queued) + sum(len(w.processing) for w in self.scheduler.workers.values())
        clients = len(set(self.scheduler.clients) - {"fire-and-forget"})
        return max(self.least, min(self.most, max(math.ceil(tasks / self.threads), min(clients, 1))))

    def watch_idle(self):
        """Since when each worker that could do something does nothing."""
        now = self.clock()
        idle = {w.name: self.idle.get(w.name, now) for w in self.scheduler.running if not w.processing}
        self.idle = idle
        return [name for name, since in sorted(idle.items(), key=lambda pair: pair[1]) if now - since >= self.patience]

    async def look(self):
        size, wanted = await asyncio.to_thread(self.deployment.size), self.wanted()
        leisurely = self.watch_idle()
        if wanted >= size:
            self.needed = self.clock()
        if wanted > size:
            log.info("%s workers are needed, and there are %s", wanted, size)
            return await asyncio.to_thread(self.deployment.resize, wanted)
        if wanted < size and self.clock() - self.needed >= self.patience:
            await self.shrink(size, wanted, leisurely)

    async def shrink(self, size, wanted, leisurely):
        """Lets go of pods that never came, and of workers that are idle; of no other."""
        absent = max(0, size - len(self.scheduler.workers))
        go = leisurely[: max(0, size - wanted - absent)]
        count = min(size - wanted, absent) + len(go)
        if not count:
            return
        if go:
            await self.scheduler.retire_workers(names=go, close_workers=False, remove=False)
            for name in go:
                await asyncio.to_thread(self.deployment.first_to_go, name)
        log.info("%s of %s workers have nothing to do, and go", count, size)
        await asyncio.to_thread(self.deployment.resize, size - count)

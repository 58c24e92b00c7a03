"""ModelOps in Dask workers: a plugin that owns one "bundle-worker serve" in each.

This file travels to the cluster as text, see travel(): the machines there need Python 3.9
and distributed, nothing of ours, and not the driver's version of Python. It runs in the
driver's bridge, in the scheduler and in the workers.
"""

import asyncio
import collections
import contextlib
import fcntl
import hashlib
import http.client
import io
import json
import logging
import os
import platform
import select
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zlib

from distributed import get_worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

TOPIC = "modelops"  # of the events by which workers say what is wrong with them
START_SECONDS = 60  # for bundle-worker to start
STOP_SECONDS = 10  # for it to end the simulations that run
CLOSE_SECONDS = 60  # for a worker that cannot run tasks to close
DEATH_SECONDS = 2  # for one that does not answer to be gone
BUSY_SECONDS = 0.05  # between two tries at a server whose queue is full
LATE_SECONDS = 0.5  # of one task, after which its batch may be parted
YOUNG_SECONDS = 600  # in which a server may not have taken its directory's lock yet
RESULT_MOST = 128 << 20  # bytes of a task's result: outputs that are large go to the storage

PREFIX = "modelops-serve-"  # of a server's directories

log = logging.getLogger("distributed.worker.modelops")

LOADER = (
    "(lambda m, t: m.get(name) or (m.__setitem__(name, t.ModuleType(name)), m[name].__dict__.update(SOURCE=source),"
    " exec(compile(source, name + '.py', 'exec'), m[name].__dict__), m[name])[-1])"
    "(__import__('sys').modules, __import__('types'))"
)


def travel(attribute, *arguments):
    """What __reduce__ returns for an object that is made there by the module's attribute."""
    expression = f"{LOADER}.{attribute}(*arguments)"
    return eval, (expression, {"name": __name__, "source": SOURCE, "arguments": arguments})


class Owner(SchedulerPlugin):
    """Takes the job's plugin off the cluster when the job's client has gone, which had no
    time to do that if it was killed, or its machine died. That also ends what runs of the
    job. While it is there, the scheduler knows this module: recent ones look at what they
    pass on."""

    def __init__(self, job, client):
        self.job, self.client = job, client
        self.name = "modelops-owner-" + job
        self.removal = None

    def __reduce__(self):
        return travel("Owner", self.job, self.client)

    def remove_client(self, scheduler, client):
        if client == self.client:
            scheduler.remove_plugin(name=self.name)
            self.removal = asyncio.ensure_future(self.remove(scheduler))

    async def remove(self, scheduler):
        with contextlib.suppress(ValueError):  # the client did it
            await scheduler.unregister_worker_plugin(None, plugin_name(self.job))


class Unusable(Exception):
    """A worker that cannot run tasks, with what its people must know."""


class Refused(Exception):
    """An answer that is the task's end: an error as results have it."""


class Missing(Exception):
    """A worker that does not have the plugin: its scheduler is not the one that was told."""


class Serve(WorkerPlugin):
    """One "bundle-worker serve", from the plugin's arrival to its end, or the worker's.

    order is what the driver asks for: "job", "contract" (the version that it speaks),
    "platform", "digest" and "size" (of the program) and "environment" (a document for
    workers that have none). program is the compressed binary.
    """

    def __init__(self, order, program):
        self.order, self.program = order, program
        self.name = plugin_name(order["job"])
        self.process = self.directory = self.unpacked = self.worker = None
        self.batches = {}  # that run, by name
        self.running = {}  # connections of tasks that run, by key
        self.stopped = set()
        self.lock = threading.Lock()
        self.starting = threading.Lock()
        self.ended = threading.Event()

    def __reduce__(self):
        return travel("Serve", self.order, self.program)

    def setup(self, worker):
        self.worker = worker
        self.launch()

    def teardown(self, worker):
        self.ended.set()
        with self.starting:
            self.stop()

    def launch(self):
        """Starts the server. Where that fails, the worker says why and closes: it would
        take task after task, and fail each at once."""
        worker = self.worker
        try:
            self.start(worker)
        except Exception as problem:
            self.stop()
            message = str(problem) if isinstance(problem, Unusable) else f"{type(problem).__name__}: {problem}"
            log.error("this worker cannot run ModelOps tasks and closes: %s", message)
            worker.log_event(TOPIC, {"job": self.order["job"], "worker": worker.address, "unusable": message})
            with contextlib.suppress(Exception):  # how a worker is closed differs between versions
                worker.loop.call_later(1, close, worker)
            raise

    def revive(self, dead):
        """Starts the server again that somebody killed, once for all who notice."""
        with self.starting:
            if self.process is not dead or dead is None:
                return
            try:
                dead.wait(DEATH_SECONDS)
            except subprocess.TimeoutExpired:
                return  # it lives, and had its reasons
            log.warning("bundle-worker ended with exit code %s and is started again", dead.returncode)
            self.stop()
            self.launch()

    def start(self, worker):
        # Sockets have short names, and are in places that are nobody else's, which a
        # worker's own directory may not be.
        sweep()
        self.directory = tempfile.mkdtemp(prefix=PREFIX)
        program = self.find()
        arguments = [program, "serve", "--until-eof", "--quiet", "--slots", str(slots(worker)), "--socket", self.socket()]
        if self.order["environment"] and not has_environment():
            file = os.path.join(self.directory, "environment.yaml")
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(self.order["environment"])
            arguments += ["--env-file", file]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
        self.ready()
        if arguments[-2] == "--env-file":
            os.unlink(arguments[-1])  # it was read: a worker that is killed leaves no secrets

    def socket(self):
        if self.directory is None:
            # This worker closes, and its tasks are run by others. One that failed at once
            # would make room for the next.
            self.ended.wait(CLOSE_SECONDS)
            raise Unusable("bundle-worker does not run on this worker")
        return os.path.join(self.directory, "serve.sock")

    def ready(self):
        """Waits for the line by which the server says that it listens."""
        readable, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            raise Unusable("bundle-worker serve did not start; its words are in the worker's log")

    def find(self):
        """The program of this machine, if it speaks the driver's contract, else the driver's."""
        own = os.environ.get("MODELOPS_BUNDLE_WORKER") or shutil.which("bundle-worker")
        reason = "it has no bundle-worker"
        if own:
            found = version(own)
            if found.get("contract") == self.order["contract"]:
                return own
            reason = f"its bundle-worker speaks version {found.get('contract')} of the contract, the driver {self.order['contract']}"
        here = f"{sys.platform}/{platform.machine()}"
        if here != self.order["platform"]:
            raise Unusable(f"{reason}, and the driver's is for {self.order['platform']}, not {here}: install bundle-worker on this worker's PATH")
        log.info("%s: it takes the driver's", reason)
        return self.unpack()

    def unpack(self):
        data = zlib.decompress(self.program, bufsize=self.order["size"])
        if hashlib.sha256(data).hexdigest() != self.order["digest"]:
            raise Unusable("bundle-worker came from the driver with another digest than the driver's")
        # Dask removes a worker's directory for one that was killed.
        self.unpacked = tempfile.mkdtemp(prefix="bundle-worker-", dir=self.worker.local_directory)
        file = os.path.join(self.unpacked, "bundle-worker")
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "wb") as out:
            out.write(data)
        return file

    def run(self, name, tasks, known):
        """A batch, to what it returns and the keys of what it did not begin."""
        batch = Batch(tasks)
        with self.lock:
            self.batches[name] = batch
        try:
            for key, task in batch:
                batch.end(self.settle(key, task, known))
        finally:
            with self.lock:
                self.batches.pop(name, None)
        return batch.returns, batch.left

    def part(self, names):
        """What Batch.part answers for those of the batches that are late."""
        with self.lock:
            there = {name: self.batches[name] for name in names if name in self.batches}
        return {name: batch.part() for name, batch in there.items() if batch.late()}

    def settle(self, key, task, known):
        """One task, to its key, its result, and why there is none."""
        try:
            return key, self.post(key, task, known), None
        except Refused as problem:
            return key, json.dumps({"task_id": key, "outputs": {}, "error": problem.args[0]}).encode(), None
        except Unusable as problem:
            return key, None, str(problem)

    def post(self, key, task, known):
        """One task, a document in JSON, to its result. known is the digest of the
        environment that the driver knows."""
        while True:
            process, connection = self.process, Connection(self.socket())
            with self.lock:
                if key in self.stopped:
                    raise Unusable("the task was cancelled")
                self.running[key] = connection
            try:
                status, body = connection.post("/v1/tasks?outputs=storage", task, {"Modelops-Job": self.order["job"], "Modelops-Environment": known})
            except (OSError, http.client.HTTPException) as problem:
                self.revive(process)
                raise Unusable(f"bundle-worker on {self.worker.address} did not answer: {problem!r}") from None
            finally:
                with self.lock:
                    del self.running[key]
                connection.close()
            if status == 200:
                return body
            if status == 503 and process:
                self.drained(process)
            if 400 <= status < 429:  # of a task that it does not understand
                raise Refused(refusal(body))
            if status != 429:
                raise Unusable(f"bundle-worker on {self.worker.address} answered {status}: {body[:2000].decode(errors='replace')}")
            time.sleep(BUSY_SECONDS)

    def drained(self, process):
        """Waits for the end of a server that was told to end. It refuses at once, and would
        make room for task after task until each has had all its tries."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(CLOSE_SECONDS)
        self.revive(process)

    def cancel(self, keys):
        """Ends tasks: the server ends one whose caller has gone."""
        with self.lock:
            self.stopped.update(keys)
            for connection in [self.running[key] for key in keys if key in self.running]:
                connection.hang_up()

    def stop(self):
        if self.process:
            self.process.stdin.close()  # it ends, and all that it runs
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.process = None
        for directory in (self.directory, self.unpacked):
            if directory:
                shutil.rmtree(directory, ignore_errors=True)
        self.directory = self.unpacked = None


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("bundle-worker")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)

    def post(self, path, body, headers):
        self.request("POST", path, body, dict(headers, **{"Content-Type": "application/json"}))
        answer = self.getresponse()
        data = answer.read(RESULT_MOST + 1)
        if len(data) > RESULT_MOST:
            raise Refused(protocol_error(f"the worker's answer has more than {RESULT_MOST >> 20} MiB"))
        return answer.status, data

    def hang_up(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class Batch:
    """Tasks that a thread of a worker runs one after the other. Others must not wait for the
    one that takes long: what ended before it can be had, and what comes after it be taken
    back. Iterating begins them."""

    def __init__(self, tasks):
        self.tasks = collections.deque(tasks)
        self.returns, self.left = [], []
        self.said = 0  # of the returns
        self.began = time.monotonic()  # the task that runs
        self.lock = threading.Lock()

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock:
            if not self.tasks:
                raise StopIteration
            self.began = time.monotonic()
            return self.tasks.popleft()

    def end(self, answer):
        with self.lock:
            self.returns.append(answer)

    def late(self):
        return time.monotonic() - self.began > LATE_SECONDS

    def part(self):
        """What has ended since this was asked last, and the keys of what will not begin
        here: whoever asks may give that to another worker."""
        with self.lock:
            ended, self.said = self.returns[self.said:], len(self.returns)
            left = [key for key, _ in self.tasks]
            self.left += left
            self.tasks.clear()
            return ended, left


class Traveller:
    """A function that travels, for workers to run."""

    def __reduce__(self):
        return travel(type(self).__name__)


class Run(Traveller):
    """What Dask runs: a batch of tasks, each (key, document). It answers with the worker's
    address, a result for each that it began, (key, text, None), or (key, None, why) for one
    that the server could not run, and the keys of the others. What is in the text is not
    looked at here."""

    def __call__(self, job, name, tasks, known):
        worker = get_worker()
        plugin = plugin_of(job, worker)
        if plugin is None:
            raise Missing
        return worker.address, *plugin.run(name, tasks, known)


class Cancel(Traveller):
    """Ends tasks on a worker."""

    def __call__(self, job, keys, dask_worker=None):
        plugin = plugin_of(job, dask_worker)
        if plugin:
            plugin.cancel(keys)


class Part(Traveller):
    """Parts batches on a worker that are late."""

    def __call__(self, job, names, dask_worker=None):
        plugin = plugin_of(job, dask_worker)
        return plugin.part(names) if plugin else {}


class Usable(Traveller):
    """Whether a worker runs tasks."""

    def __call__(self, job, dask_worker=None):
        plugin = plugin_of(job, dask_worker)
        return bool(plugin and plugin.process and plugin.process.poll() is None)


def plugin_of(job, worker):
    return worker.plugins.get(plugin_name(job))


def plugin_name(job):
    return "modelops-" + job


def protocol_error(message):
    return {"code": "protocol_error", "stage": "run", "message": message}


def refusal(body):
    """The error with which the server answered."""
    try:
        error = json.loads(body)["error"]
        return error if error["message"] else protocol_error("bundle-worker refuses the task, and says nothing")
    except (ValueError, KeyError, TypeError):
        return protocol_error("bundle-worker refuses the task: " + body[:2000].decode(errors="replace"))


def sweep():
    """Removes the directories of servers that were killed together with their workers."""
    shared = tempfile.gettempdir()
    for name in os.listdir(shared):
        path = os.path.join(shared, name)
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            own = name.startswith(PREFIX) and stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if own and time.time() - found.st_mtime > YOUNG_SECONDS and not held(path):
                shutil.rmtree(path, ignore_errors=True)


def held(directory):
    """Whether a server lives in it: it has a lock."""
    try:
        lock = os.open(os.path.join(directory, "serve.sock.lock"), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def version(program):
    """What a bundle-worker says that it is; nothing for one that says nothing."""
    try:
        out = subprocess.run([program, "version", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=START_SECONDS).stdout
        return json.load(io.BytesIO(out))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}


def has_environment():
    """Whether this machine says itself where bundles are."""
    return any(os.environ.get(name) for name in ("MODELOPS_BUNDLE_ENV_FILE", "MODELOPS_BUNDLE_REGISTRY"))


def slots(worker):
    return getattr(worker.state, "nthreads", None) or worker.nthreads


def close(worker):
    worker.loop.add_callback(worker.close, executor_wait=False, nanny=True)

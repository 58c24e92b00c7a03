"""Between mops and a Dask cluster: batches of tasks in, their results out.

Both are lines of JSON. What comes in on standard input:

    {"start": {"scheduler", "tls", "plugin" (source), "program" (file), "order", "wait"}}   first
    {"batch": id, "tasks": [[key, document], ...], "resources": {name: amount}, "environment": known digest, "avoid": [worker, ...],
     "first": true if it goes before others that wait}

What goes out on standard output:

    {"ready": {"distributed": version, "scheduler": version, "workers": [...]}}
    {"batch": id, "worker": address, "returns": [[key, result (a text), null] or [key, null, why], ...], "left": [key of one that was not begun, ...],
     "more": true if others follow}
    {"batch": id, "lost": why}
    {"waiting": for what}                                   until it is ready
    {"workers": [...]}                                      when there are others than before
    {"unusable": {"worker": address, "why": text}}          a worker that closes itself
    {"failed": {"code": code, "message": text}}             the end, when it is not ordered

The order of keys in a line is as above. Everything that libraries say goes to standard
error. The end of standard input ends the work that runs, and the program.
"""

import asyncio
import contextlib
import importlib.util
import json
import sys
import time
import types
import zlib

import distributed

TOPIC = "modelops"
LOOK_SECONDS = 1  # between looks at who is there
CONNECT_SECONDS = 30
END_SECONDS = 15  # for the workers to end what runs
AGAIN = "the scheduler was started again"
CHUNK = 256 << 20  # of a line of standard input, at most
LINE_FULL = 16 << 20  # bytes of results that are enough for a line
LINE_MOST = 384 << 20  # of one result: what is valid has room, see RESULT_MOST of the plugin


class Failed(Exception):
    """What ends the bridge: code and message."""


class Bridge:
    def __init__(self, reader, out):
        self.reader, self.out = reader, out
        self.client = self.module = self.job = None
        self.keys = {}  # of the tasks of each batch that runs
        self.since = {}  # when those of several tasks that are whole were handed over
        self.futures = {}
        self.bound = {}  # to workers: those of batches that avoid others
        self.finished = asyncio.Queue()
        self.workers = self.scheduler = None

    def say(self, **line):
        self.write(json.dumps(line, separators=(",", ":")).encode())

    def write(self, data):
        self.out.write(data + b"\n")
        self.out.flush()

    async def run(self):
        line = await self.reader.readline()
        if not line:
            return
        start = json.loads(line)["start"]
        self.job, self.attempt = start["order"]["job"], start["attempt"]
        # Nothing is ordered before this is ready: what comes earlier is the end.
        early, connecting = asyncio.ensure_future(self.reader.readline()), asyncio.ensure_future(self.connect(start))
        try:
            await asyncio.wait([early, connecting], return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                connecting.cancel()
                await asyncio.wait([connecting])
                return
            connecting.result()
            await self.work(early)
        finally:
            early.cancel()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.end(), END_SECONDS)

    async def work(self, early):
        helpers = [asyncio.ensure_future(helper()) for helper in (self.watch, self.collect, self.part)]
        orders = asyncio.ensure_future(self.take_orders(early))
        try:
            done, _ = await asyncio.wait([orders, *helpers], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in [orders, *helpers]:
                task.cancel()

    async def connect(self, start):
        tls = start.get("tls") or {}
        security = distributed.Security(
            tls_ca_file=tls.get("ca_file"), tls_client_cert=tls.get("cert_file"), tls_client_key=tls.get("key_file"), require_encryption=True,
        ) if tls else None
        address = start["scheduler"]
        try:
            theirs = await self.version(address, security)
            if theirs != distributed.__version__:
                raise Failed("version", theirs)
            self.client = await distributed.Client(
                address, asynchronous=True, security=security, timeout=CONNECT_SECONDS, name="modelops-" + self.job, set_as_default=False)
        except (OSError, asyncio.TimeoutError, ValueError) as problem:
            raise Failed("unavailable", f"scheduler {address} does not answer: {problem or type(problem).__name__}") from None
        self.module = load(start["plugin"])
        try:
            await self.wait_for_workers(start["wait"])
            self.scheduler = await self.identify()
            await self.install(start)
            self.workers = await self.look()
        except (OSError, asyncio.TimeoutError) as problem:
            raise Failed("unavailable", f"scheduler {address} went: {problem or type(problem).__name__}") from None
        self.say(ready={"distributed": distributed.__version__, "workers": self.workers})

    async def version(self, address, security):
        """The scheduler's version of distributed, asked for without a client: one of
        another version may not understand anything else."""
        connection = distributed.core.rpc(address, timeout=CONNECT_SECONDS, connection_args=security.get_connection_args("client") if security else None)
        try:
            packages = (await asyncio.wait_for(connection.versions(), CONNECT_SECONDS))["packages"]
        finally:
            await connection.close_rpc()
        return packages["distributed"]

    async def wait_for_workers(self, seconds):
        for n in range(max(1, int(seconds / LOOK_SECONDS))):
            if await self.look():
                return
            if n == 0:
                self.say(waiting=f"scheduler {self.client.scheduler.address} has no workers")
            await asyncio.sleep(LOOK_SECONDS)
        raise Failed("no_workers", f"scheduler {self.client.scheduler.address} has no workers")

    async def install(self, start):
        """Has the plugin on every worker that is there and that comes. A worker where it
        fails says why and closes; what counts is that there are others."""
        self.client.subscribe_topic(TOPIC, self.hear)
        with open(start["program"], "rb") as f:
            program = zlib.compress(f.read(), 1)
        try:
            await self.register(self.module.Owner(self.job, self.client.id))
            await self.register(self.module.Serve(start["order"], program))
        except Exception as problem:  # of any worker: whatever it raised
            self.failure = f"{type(problem).__name__}: {problem}"
        else:
            return
        if await self.identify() != self.scheduler:  # which had the plugin
            raise Failed("unavailable", AGAIN)
        for _ in range(10):
            await asyncio.sleep(LOOK_SECONDS / 2)
            if await self.usable():
                return
        raise Failed("unusable", f"no worker can run tasks: {self.failure}")

    async def register(self, plugin):
        if hasattr(self.client, "register_plugin"):
            return await self.client.register_plugin(plugin, name=plugin.name)
        if isinstance(plugin, distributed.diagnostics.plugin.SchedulerPlugin):
            return await self.client.register_scheduler_plugin(plugin, name=plugin.name)
        return await self.client.register_worker_plugin(plugin, name=plugin.name)

    async def usable(self):
        """How many workers run the plugin."""
        answers = await self.client.run(self.module.Usable(), self.job, on_error="ignore")
        return sum(1 for answer in answers.values() if answer is True)

    def hear(self, event):
        with contextlib.suppress(Exception):
            _, content = event
            if content.get("job") == self.job and "unusable" in content:
                self.say(unusable={"worker": content["worker"], "why": content["unusable"]})

    async def look(self):
        info = await self.client.scheduler.identity()
        return sorted(
            ({"address": address, "name": str(worker.get("name", "")), "threads": worker["nthreads"], "memory": worker.get("memory_limit") or 0,
              "resources": worker.get("resources") or {}} for address, worker in info["workers"].items()),
            key=lambda worker: worker["address"])

    async def identify(self):
        return (await self.client.scheduler.identity())["id"]

    async def watch(self):
        """Says who is there, and ends when the scheduler is not, or is another: the client
        connects to that one as well, which knows nothing of the plugin."""
        missed = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                now = await asyncio.wait_for(self.look(), CONNECT_SECONDS)
                if await self.identify() != self.scheduler:
                    raise Failed("unavailable", AGAIN)
                missed = 0
            except (OSError, asyncio.TimeoutError) as problem:
                missed += 1
                if missed == 3 or self.client.status not in ("running", "connecting"):
                    raise Failed("unavailable", f"the scheduler is gone: {problem or type(problem).__name__}") from None
                continue
            if now != self.workers:
                self.workers = now
                self.say(workers=now)
                self.unbind()

    async def take_orders(self, early):
        """Hands batches to the cluster. early reads the first."""
        line = await early
        while line.endswith(b"\n"):  # the end may come within a line
            order = json.loads(line)
            name, tasks = order["batch"], [(key, document.encode()) for key, document in order["tasks"]]
            self.keys[name] = [key for key, _ in tasks]
            if len(tasks) > 1:
                self.since[name] = time.monotonic()
            future = self.client.submit(
                self.module.Run(), self.job, self.key(name), tasks, order.get("environment", ""), key=self.key(name), pure=False,
                resources=order.get("resources") or None, workers=self.elsewhere(name, order.get("avoid")), priority=int(order["first"]))
            self.futures[name] = future
            future.add_done_callback(lambda future, name=name: self.client.loop.add_callback(self.finished.put_nowait, (name, future)))
            line = await self.reader.readline()

    def key(self, name):
        """What Dask knows a batch by, and its worker: no other batch has it."""
        return f"modelops-{self.job}-{self.attempt}-{name}"

    def elsewhere(self, name, avoid):
        """The workers for a batch that is to avoid some, while there are others."""
        others = [worker["address"] for worker in self.workers if worker["address"] not in avoid] if avoid else []
        if others:
            self.bound[name] = others
        return others or None

    def unbind(self):
        """Gives back batches whose workers have all gone: the scheduler waits for them."""
        there = {worker["address"] for worker in self.workers}
        for name in [name for name, workers in self.bound.items() if there.isdisjoint(workers)]:
            self.lose(name, "the workers that it was for are gone")

    async def collect(self):
        """Fetches what batches answer as they end, each for itself: one whose worker went
        meanwhile runs again before it can be fetched, and the others do not wait for that."""
        fetching = set()  # or nobody holds them
        while True:
            name, future = await self.finished.get()
            if future.status in ("error", "cancelled"):
                await self.explain(name, future)
                continue
            task = asyncio.ensure_future(self.fetch(name, future))
            fetching.add(task)
            task.add_done_callback(fetching.discard)

    async def fetch(self, name, future):
        try:
            answer = (await self.client.gather([future]))[0]
        except Exception as problem:
            self.lose(name, f"the result went with its worker: {type(problem).__name__}: {problem}")
        else:
            self.deliver(name, answer)

    async def part(self):
        """Parts the batches that take long, see Batch of the plugin. Short ones never do, so
        that a cluster which has no others is not asked."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            late = {self.key(name): name for name, since in self.since.items() if now - since > LOOK_SECONDS}
            if not late:
                continue
            with contextlib.suppress(OSError, asyncio.TimeoutError):  # of a scheduler that is gone, which is seen elsewhere
                there = await asyncio.wait_for(self.client.processing(), CONNECT_SECONDS)
                asked = [self.ask(worker, {key: late[key] for key in keys if key in late}) for worker, keys in there.items() if not late.keys().isdisjoint(keys)]
                # Of a worker that does not answer, the batch itself says everything, or its loss.
                await asyncio.gather(*asked, return_exceptions=True)

    async def ask(self, worker, late):
        """Says what a worker has of batches, by their keys, before their end."""
        answers = await asyncio.wait_for(self.client.run(self.module.Part(), self.job, list(late), workers=[worker], on_error="ignore"), CONNECT_SECONDS)
        for key, (returns, left) in answers.get(worker, {}).items():
            if self.since.pop(late[key], None) and (returns or left):  # else it ended meanwhile
                self.tell(late[key], worker, returns, left, more=True)

    def deliver(self, name, answer):
        """Says the results of a batch that has ended."""
        self.tell(name, *answer, more=False)
        self.forget(name)

    def tell(self, name, worker, returns, left, more):
        """Says what became of tasks of a batch. A result is a text here, whatever is in it:
        one that is no JSON must not spoil a line with others."""
        lines, size = [[]], 0
        for key, body, why in returns:
            part = json.dumps([key, None if body is None else body.decode(errors="replace").strip(), why], ensure_ascii=False).encode()
            if len(part) > LINE_MOST:
                part = json.dumps([key, "", None]).encode()
            if size > LINE_FULL:
                lines.append([])
                size = 0
            lines[-1].append(part)
            size += len(part)
        for number, parts in enumerate(lines, 1):
            end = b',"more":true' if more or number < len(lines) else b""
            if number == len(lines) and left:
                end = b',"left":%s%s' % (json.dumps(left).encode(), end)
            self.write(b'{"batch":"%s","worker":%s,"returns":[%s]%s}' % (name.encode(), json.dumps(worker).encode(), b",".join(parts), end))

    def lose(self, name, why):
        if name in self.keys:
            self.say(batch=name, lost=why)
            self.forget(name)

    def forget(self, name):
        self.keys.pop(name, None)
        self.since.pop(name, None)
        self.bound.pop(name, None)
        future = self.futures.pop(name, None)
        if future is not None:
            future.release()

    async def explain(self, name, future):
        """Says why a batch has no results."""
        if future.status == "cancelled":
            return self.lose(name, "the scheduler no longer knows the task")
        problem = await future.exception()
        if isinstance(problem, self.module.Missing):
            raise Failed("unavailable", AGAIN)
        return self.lose(name, f"{type(problem).__name__}: {problem}")

    async def end(self):
        """Ends what runs, takes the plugin away, and goes."""
        if self.client is None:
            return
        if self.client.status == "running":
            keys = [key for batch in self.keys.values() for key in batch]
            with contextlib.suppress(Exception):
                await self.client.cancel(list(self.futures.values()), force=True)
                if keys:
                    await self.client.run(self.module.Cancel(), self.job, keys, on_error="ignore")
            with contextlib.suppress(Exception):
                await self.client.unregister_worker_plugin(self.module.plugin_name(self.job))
        await self.client.close()


def load(source):
    """The plugin's module, of its text."""
    digest = f"{zlib.crc32(source.encode()):08x}"
    module = types.ModuleType("modelops_dask_" + digest)
    module.SOURCE = source
    sys.modules[module.__name__] = module
    exec(compile(source, module.__name__ + ".py", "exec"), module.__dict__)
    return module


async def main():
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # nobody else writes there
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    bridge = Bridge(reader, out)
    try:
        await bridge.run()
    except Failed as failure:
        code, message = failure.args
        bridge.say(failed={"code": code, "message": message})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

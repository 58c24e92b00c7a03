"""What of the plugin needs no cluster: python3 plugin_test.py, beside plugin.py."""

import hashlib
import pathlib
import sys
import tempfile
import types
import unittest
import zlib

# The plugin's only library, as far as loading it goes.
stub = types.ModuleType("distributed")
stub.get_worker = None
stub.diagnostics = types.ModuleType("distributed.diagnostics")
stub.diagnostics.plugin = types.ModuleType("distributed.diagnostics.plugin")
stub.diagnostics.plugin.SchedulerPlugin = stub.diagnostics.plugin.WorkerPlugin = object
for module in (stub, stub.diagnostics, stub.diagnostics.plugin):
    sys.modules[module.__name__] = module
plugin = types.ModuleType("plugin")
plugin.SOURCE = (pathlib.Path(__file__).parent / "plugin.py").read_text()
exec(compile(plugin.SOURCE, "plugin.py", "exec"), plugin.__dict__)

PROGRAM = b"#!/bin/sh\nexit 3\n"
HERE = f"{sys.platform}/{plugin.platform.machine()}"


class Program(unittest.TestCase):
    """The driver's program, for workers that have none."""

    def find(self, **order):
        order = {"job": "j", "contract": "1", "platform": HERE, "digest": hashlib.sha256(PROGRAM).hexdigest(), "size": len(PROGRAM), **order}
        serve = plugin.Serve(order, zlib.compress(PROGRAM))
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        serve.worker = types.SimpleNamespace(local_directory=directory.name)
        return serve.find()

    def setUp(self):
        plugin.os.environ.pop("MODELOPS_BUNDLE_WORKER", None)
        plugin.os.environ["PATH"] = "/nowhere"

    def test_unpacked(self):
        path = pathlib.Path(self.find())
        self.assertEqual(path.read_bytes(), PROGRAM)
        self.assertEqual(path.stat().st_mode & 0o777, 0o700)

    def test_other_digest(self):
        with self.assertRaisesRegex(plugin.Unusable, "another digest than the driver's"):
            self.find(digest="0" * 64)

    def test_other_platform(self):
        with self.assertRaisesRegex(plugin.Unusable, "it has no bundle-worker, and the driver's is for plan9/mips, not .*: install bundle-worker"):
            self.find(platform="plan9/mips")


class Batches(unittest.TestCase):
    def batch(self, count):
        return plugin.Batch([(str(n), b"task %d" % n) for n in range(count)])

    def test_whole(self):
        batch = self.batch(3)
        for key, task in batch:
            batch.end((key, task, None))
        self.assertEqual([key for key, _, _ in batch.returns], ["0", "1", "2"])
        self.assertEqual((batch.left, batch.part()[1]), ([], []))

    def test_parted(self):
        """What ended is said once, what was not begun is not begun, and both stay with the batch."""
        batch, parts, begun = self.batch(5), [], []
        for key, task in batch:
            begun.append(key)
            if key in "12":
                parts.append(batch.part())
            batch.end(key)
        self.assertEqual(begun, ["0", "1"])
        self.assertEqual(parts, [(["0"], ["2", "3", "4"])])
        self.assertEqual(batch.part(), (["1"], []))
        self.assertEqual((batch.returns, batch.left), (["0", "1"], ["2", "3", "4"]))

    def test_late(self):
        """A batch is late when the task that it is at is, however long those before it took."""
        now = [0.0]
        clock, plugin.time = plugin.time, types.SimpleNamespace(monotonic=lambda: now[0])
        self.addCleanup(lambda: setattr(plugin, "time", clock))
        batch = self.batch(3)
        late = []
        for _ in batch:
            now[0] += plugin.LATE_SECONDS * 0.9
            late.append(batch.late())
        now[0] += plugin.LATE_SECONDS * 0.2
        self.assertEqual(late, [False] * 3)
        self.assertTrue(batch.late())


if __name__ == "__main__":
    unittest.main()

"""Runs a bundle's wire and targets on behalf of bundle-worker.

Usage: python harness.py BUNDLE_DIR, with the worker's requests on descriptor 3 and this
program's answers on descriptor 4, both as JSON-RPC 2.0 framed by Content-Length. Descriptors
0, 1 and 2 belong to the model: whatever it prints, and however, cannot reach the worker's
connection.

By hand: python harness.py BUNDLE_DIR WIRE TASK_FILE runs one task, writes its outputs to the
directory in MODELOPS_OUTPUT_DIR, and leaves an exception to Python.

Standard library only; Python 3.9 and later (older ones get as far as saying what they are).
"""

import base64
import collections.abc
import json
import numbers
import os
import re
import sys

REQUESTS, ANSWERS = 3, 4
OUT_OF_THE_WAY = 200  # where the two are moved, so that a model that closes the first few does no harm
MAX_TEXT = 64 * 1024  # characters of a message or traceback
SPOOL_OVER = 64 * 1024  # bytes of an output that goes by file instead
MAX_DIAGNOSTICS = 1000
INTERNAL, FAILED, NO_METHOD = -32603, -32000, -32601


class Failure(Exception):
    """Something to be answered as an error, described already."""

    def __init__(self, kind, message, **details):
        super().__init__(message)
        self.data = dict(details, kind=kind, message=message)


class Harness:
    def __init__(self, bundle):
        self.bundle = bundle
        self.pid = os.getpid()
        self.wire = None
        self.targets = {}  # what was imported, by its name
        self.requests = open(move(REQUESTS), "rb")
        self.answers = move(ANSWERS)
        self.streams = (os.dup(1), os.dup(2))
        os.set_inheritable(self.streams[0], False)
        os.set_inheritable(self.streams[1], False)
        set_path(bundle)
        self.environ = dict(os.environ)

    def serve(self):
        methods = {"initialize": self.initialize, "load": self.load, "run": self.run, "evaluate": self.evaluate}
        while True:
            request = self.read()
            if request is None:
                return
            answer = {"jsonrpc": "2.0", "id": request["id"]}
            method = methods.get(request["method"])
            try:
                if method is None:
                    answer["error"] = {"code": NO_METHOD, "message": "no method " + request["method"]}
                else:
                    answer["result"] = method(**request["params"])
            except Failure as failure:
                answer["error"] = {"code": FAILED, "message": failure.data["message"], "data": failure.data}
            if os.getpid() != self.pid:
                os._exit(0)  # the model forked, and this is the child: the answer is its parent's to give
            flush()
            self.write(answer)

    def read(self):
        length = None
        while True:
            line = self.requests.readline()
            if not line:
                return None
            if line == b"\r\n":
                break
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return parse(self.requests.read(length))

    def write(self, answer):
        body = json.dumps(answer).encode("ascii")
        data = memoryview(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        while data:
            data = data[os.write(self.answers, data):]

    def initialize(self):
        machine = os.uname()
        packages, wires = installed()
        return {
            "python": sys.version.split()[0],
            "platform": sys.platform + "-" + machine.machine,
            "executable": sys.executable,
            "packages": packages,
            "entry_points": wires,
        }

    def explain_stops(self):
        """Has the process say where it is when it is told to end."""
        import faulthandler
        import signal

        faulthandler.register(signal.SIGTERM, file=self.streams[1], all_threads=True, chain=True)

    def load(self, target):
        self.explain_stops()
        sys.argv = [target]
        try:
            self.wire = find(self.bundle, target)
        except Failure:
            raise
        except BaseException as exception:
            raise describe(exception, "import")

    def run(self, entrypoint, params, seed, environ, spool, max_output):
        self.restore(environ)
        try:
            outputs = self.wire(entrypoint, params, seed)
        except BaseException as exception:
            raise describe(exception, "model")
        check(outputs)
        answer = []
        for number, (name, value) in enumerate(outputs.items()):
            try:
                answer.append(pack(name, value, os.path.join(spool, str(number)), str(number), max_output))
            except Failure:
                raise
            except BaseException as exception:
                raise describe(exception, "output")
        return {"outputs": answer}

    def evaluate(self, target, replicates, environ):
        self.restore(environ)
        if not self.targets:
            self.explain_stops()
        if target not in self.targets:
            self.targets[target] = load_target(target)
        outputs = [{output["name"]: unpack(output) for output in replicate} for replicate in replicates]
        try:
            return measure(call_target(self.targets[target], outputs))
        except Failure:
            raise
        except BaseException as exception:
            raise describe(exception, "model")

    def restore(self, environ):
        """Undoes what an earlier task may have left in this process."""
        os.chdir(self.bundle)
        expected = dict(self.environ, **environ)
        if os.environ != expected:
            for name in list(os.environ):
                if name not in expected:
                    del os.environ[name]
            for name, value in expected.items():
                if os.environ.get(name) != value:
                    os.environ[name] = value
        for number, stream in enumerate(self.streams, 1):
            os.dup2(stream, number)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        tempfile = sys.modules.get("tempfile")
        if tempfile is not None:
            tempfile.tempdir = None


def by_hand(bundle, target, file):
    """Runs the task in a file for somebody in a shell."""
    bundle = os.path.abspath(bundle)
    set_path(bundle)
    sys.argv = [target]
    with open(file, encoding="utf-8") as stream:
        task = parse(stream.read())
    try:
        wire = find(bundle, target)
        outputs = wire(task["entrypoint"], task["params"]["values"], task["seed"])
        check(outputs)
        for name, value in outputs.items():
            path = os.path.join(os.environ["MODELOPS_OUTPUT_DIR"], name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as stream:
                stream.write(encode(name, value))
            print("%s: %d bytes" % (path, os.path.getsize(path)))
    except Failure as failure:
        sys.exit("error: %s" % failure)


def set_path(bundle):
    """Puts the bundle's code where this file's directory was on the path."""
    sys.path[0:1] = [path for path in (bundle, os.path.join(bundle, "src")) if os.path.isdir(path)]


def find(bundle, target):
    """The wire that a target names, module:function or file.py:function."""
    place, _, name = target.partition(":")
    wire = load_file(bundle, place) if place.endswith(".py") else load_module(place)
    for part in name.split("."):
        try:
            wire = getattr(wire, part)
        except AttributeError:
            raise Failure("wire_missing", "%s has no %s" % (place, name))
    if not callable(wire):
        raise Failure("wire_missing", "%s is %s and cannot be called" % (target, kind_of(wire)))
    return wire


def load_file(bundle, place):
    """Imports a file of the bundle, as a module of the name it has on the path if it has one."""
    import importlib.util

    file = os.path.join(bundle, place)
    if not os.path.isfile(file):
        raise Failure("wire_missing", "the bundle has no file " + place)
    stem = place[:-len(".py")]
    for prefix in ("src/", ""):
        name = stem[len(prefix):].replace("/", ".")
        if not stem.startswith(prefix) or not all(part.isidentifier() for part in name.split(".")):
            continue
        if name.split(".")[0] in sys.modules:
            continue  # the standard library's, and imported already
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None and os.path.realpath(spec.origin) == os.path.realpath(file):
            return load_module(name)
    spec = importlib.util.spec_from_file_location("modelops_wire", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["modelops_wire"] = module
    spec.loader.exec_module(module)
    return module


def check(outputs):
    """Refuses an answer that is no dictionary of names."""
    if not isinstance(outputs, dict):
        raise Failure("output", "the wire answered %s, not a dictionary of outputs" % kind_of(outputs))
    for name in outputs:
        if not isinstance(name, str):
            raise Failure("output", "the wire answered an output whose name is %s, not a string" % kind_of(name))


def move(fd):
    """Moves a descriptor out of the way and keeps it from children."""
    import fcntl

    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
    os.close(fd)
    return moved


def parse(text):
    """Reads JSON with integers of any size."""
    if not hasattr(sys, "set_int_max_str_digits"):
        return json.loads(text)
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.loads(text)
    finally:
        sys.set_int_max_str_digits(limit)


def load_module(name):
    import importlib

    return importlib.import_module(name)


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass  # closed or replaced by the model: its own affair


def kind_of(value):
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else kind.__module__ + "." + kind.__qualname__
    return "a value of type " + name if value is not None else "None"


def pack(name, value, file, reference, max_output):
    """One output for the answer: inline, or in a file when it is large."""
    data = encode(name, value)
    if len(data) > max_output:
        raise Failure("output", "output %s has %d bytes, and may have %d" % (json.dumps(name), len(data), max_output))
    if len(data) <= SPOOL_OVER:
        return {"name": name, "data": base64.b64encode(data).decode("ascii")}
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
    return {"name": name, "file": reference}


def encode(name, value):
    """An output's bytes."""
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:
            raise Failure("output", "output %s is text that is not valid Unicode" % json.dumps(name))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise Failure("output", "output %s is %s, not bytes" % (json.dumps(name), kind_of(value)))


def load_target(target):
    place, _, name = target.partition(":")
    try:
        found = getattr(load_module(place), name, None)
    except BaseException as exception:
        raise describe(exception, "import")
    if found is None:
        raise Failure("import", "the module %s has no %s" % (place, name))
    return found


def unpack(output):
    if "file" not in output:
        return base64.b64decode(output["data"])
    with open(output["file"], "rb") as stream:
        return stream.read()


def call_target(target, outputs):
    """What a target says: it is called with the replicates, or makes something that evaluates
    them as data frames, as the targets of modelops-calabaria do."""
    answer = target
    if callable(target):
        answer = target() if makes_target(target) else target(outputs)
    if callable(getattr(answer, "evaluate", None)):
        return answer.evaluate([Frames(replicate) for replicate in outputs])
    return answer


def makes_target(function):
    """Whether a function has nothing to be told but where its own data are, which its
    decorator does."""
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    if all(name == "data_paths" for name in signature.parameters):
        return True
    try:
        signature.bind([])
    except TypeError:
        raise Failure("output", "it takes %s, and is called with the replicates alone" % signature)
    return False


class Frames(collections.abc.Mapping):
    """The outputs of a replicate as data frames, each read when it is first asked for."""

    def __init__(self, outputs):
        self.outputs = outputs
        self.frames = {}

    def __getitem__(self, name):
        if name not in self.frames:
            if name not in self.outputs:
                raise KeyError("%s; the outputs are %s" % (name, ", ".join(sorted(self.outputs))))
            self.frames[name] = read_frame(name, self.outputs[name])
        return self.frames[name]

    def __contains__(self, name):
        return name in self.outputs

    def __iter__(self):
        return iter(self.outputs)

    def __len__(self):
        return len(self.outputs)


def read_frame(name, data):
    import io

    import polars

    read = polars.read_csv
    if data.startswith(b"ARROW1"):
        read = polars.read_ipc
    elif data.startswith(b"\xff\xff\xff\xff"):
        read = polars.read_ipc_stream
    elif data.startswith(b"PAR1"):
        read = polars.read_parquet
    elif data.lstrip()[:1] in (b"[", b"{"):
        read = polars.read_json
    try:
        return read(io.BytesIO(data))
    except Exception as exception:
        raise Failure("output", "polars cannot read the output %s as a table: %s" % (json.dumps(name), shorten(text_of(exception))),
                      type=type(exception).__name__)


def measure(answer):
    """The loss and the further numbers of what a target said."""
    further = {}
    if isinstance(answer, collections.abc.Mapping):
        if "loss" not in answer:
            raise Failure("output", "it answered a mapping without loss")
        further = dict(answer)
        loss = further.pop("loss")
        if isinstance(further.get("diagnostics"), collections.abc.Mapping):
            further.update(further.pop("diagnostics"))
    elif hasattr(answer, "loss"):
        loss = answer.loss
        found = dict(getattr(answer, "diagnostics", None) or {}, weight=getattr(answer, "weight", None), weighted_loss=getattr(answer, "weighted_loss", None))
        further = {name: value for name, value in found.items() if number_of(value) is not None}
    else:
        loss = answer
    value = number_of(loss)
    if value is None:
        raise Failure("output", "its loss is %s, not a number" % kind_of(loss))
    if not finite(value):
        raise Failure("output", "its loss is %s, not a finite number" % value)
    if len(further) > MAX_DIAGNOSTICS:
        raise Failure("output", "it answered %d further numbers, and may answer %d" % (len(further), MAX_DIAGNOSTICS))
    return {"loss": value, "diagnostics": diagnostics_of(further)}


def diagnostics_of(further):
    """Numbers by their names; those that are not finite are left out."""
    diagnostics = {}
    for name, value in further.items():
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise Failure("output", "it answered a further number whose name is %s" % ascii(name)[:200])
        value = number_of(value)
        if value is None:
            raise Failure("output", "it answered %s for %s, not a number" % (kind_of(further[name]), json.dumps(name)))
        if finite(value):
            diagnostics[name] = value
    return diagnostics


def number_of(value):
    """A number as a float; None for anything else. Arrays of one number are numbers."""
    if not isinstance(value, numbers.Real) and hasattr(value, "item"):
        try:
            value = value.item()
        except (TypeError, ValueError):
            return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def finite(value):
    return value - value == 0


def describe(exception, kind):
    """The failure that an exception of the model's is."""
    first = root(exception)
    message = shorten(text_of(exception))
    if isinstance(exception, SystemExit):
        code = exception.code
        return Failure("exit", "the model called sys.exit(%s)" % ("" if code is None else shorten(repr(code))),
                       type="SystemExit", traceback=trace(exception))
    if first is not exception:
        named = "%s: %s" % (type(first).__name__, shorten(text_of(first)))
        if text_of(first) not in message:
            message = "%s (first: %s)" % (message, named) if message else named
    explicit = exception
    while explicit.__cause__ is not None and explicit.__cause__ is not explicit:
        explicit = explicit.__cause__
        if explicit is first:
            break
    if isinstance(exception, ImportError) or isinstance(explicit, ImportError):
        kind = "import"
    missing = first.name if isinstance(first, ModuleNotFoundError) and isinstance(first.name, str) else ""
    return Failure(kind, message or type(exception).__name__, type=type(exception).__name__,
                   traceback=trace(exception), missing=missing)


def root(exception):
    """The exception that came first of a chain."""
    seen = set()
    while id(exception) not in seen:
        seen.add(id(exception))
        if exception.__cause__ is not None:
            exception = exception.__cause__
        elif exception.__context__ is not None and not exception.__suppress_context__:
            exception = exception.__context__
    return exception


def text_of(exception):
    try:
        return str(exception)
    except BaseException as problem:
        return "(its text could not be had: %s)" % type(problem).__name__


def trace(exception):
    """The traceback, without the lines of this file and of the import system above the model's."""
    import traceback

    frames = exception.__traceback__
    while frames is not None:
        name = frames.tb_frame.f_code.co_filename
        if name != __file__ and "importlib" not in name:
            break
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(exception), exception, frames)
    except BaseException as problem:
        return "(the traceback could not be had: %s)" % type(problem).__name__
    return shorten("".join(lines))


def shorten(text):
    if len(text) <= MAX_TEXT:
        return text
    return text[:MAX_TEXT // 4] + "\n[...]\n" + text[-MAX_TEXT * 3 // 4 + 8:]


def installed():
    """The distributions on the path with their versions, and those that are a wire."""
    packages, wires = {}, []
    for place in sys.path:
        try:
            names = sorted(os.listdir(place or "."))
        except OSError:
            continue
        for entry in names:
            stem, extension = os.path.splitext(entry)
            if extension not in (".dist-info", ".egg-info"):
                continue
            path = os.path.join(place, entry)
            name, version = distribution(path, stem, extension)
            if name in packages:
                continue  # an earlier place on the path is the one that is imported
            packages[name] = version
            wires.extend(wires_of(path, name))
    return packages, wires


def distribution(path, stem, extension):
    name, dash, version = stem.rpartition("-")
    if extension == ".egg-info":
        parts = stem.split("-")
        name, version = parts[0], parts[1] if len(parts) > 1 else ""
        if not version:
            version = read_version(path)
    elif not dash:
        name, version = stem, ""
    return re.sub(r"[-_.]+", "-", name).lower(), version


def read_version(path):
    file = os.path.join(path, "PKG-INFO") if os.path.isdir(path) else path
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.startswith("Version:"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""


def wires_of(path, name):
    """The entry points of a distribution in the group modelops.wire."""
    try:
        with open(os.path.join(path, "entry_points.txt"), encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return []
    wires, inside = [], False
    for line in lines:
        line = line.strip()
        if line.startswith("["):
            inside = line == "[modelops.wire]"
        elif inside and "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            target = value.partition("[")[0].strip()  # extras are of no use here
            wires.append({"name": key.strip(), "value": target, "distribution": name})
    return wires


if __name__ == "__main__":
    if len(sys.argv) == 4:
        by_hand(*sys.argv[1:])
    else:
        Harness(sys.argv[1]).serve()

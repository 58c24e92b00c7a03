"""Runs a bundle's wire on behalf of bundle-worker.

Usage: python harness.py BUNDLE_DIR, with the worker's requests on descriptor 3 and this
program's answers on descriptor 4, both as JSON-RPC 2.0 framed by Content-Length. Descriptors
0, 1 and 2 belong to the model: whatever it prints, and however, cannot reach the worker's
connection.

By hand: python harness.py BUNDLE_DIR WIRE TASK_FILE runs one task, writes its outputs to the
directory in MODELOPS_OUTPUT_DIR, and leaves an exception to Python.

Standard library only; Python 3.9 and later (older ones get as far as saying what they are).
"""

import base64
import json
import os
import re
import sys

REQUESTS, ANSWERS = 3, 4
OUT_OF_THE_WAY = 200  # where the two are moved, so that a model that closes the first few does no harm
MAX_TEXT = 64 * 1024  # characters of a message or traceback
SPOOL_OVER = 64 * 1024  # bytes of an output that goes by file instead
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
        self.requests = open(move(REQUESTS), "rb")
        self.answers = move(ANSWERS)
        self.streams = (os.dup(1), os.dup(2))
        os.set_inheritable(self.streams[0], False)
        os.set_inheritable(self.streams[1], False)
        set_path(bundle)
        self.environ = dict(os.environ)

    def serve(self):
        methods = {"initialize": self.initialize, "load": self.load, "run": self.run}
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

    def load(self, target):
        import faulthandler
        import signal

        faulthandler.register(signal.SIGTERM, file=self.streams[1], all_threads=True, chain=True)
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

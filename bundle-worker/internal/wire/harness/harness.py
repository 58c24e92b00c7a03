"""Runs a bundle's wire and targets on behalf of bundle-worker.

Usage: python -c START DIR, where START is start.py, which imports this file from DIR, with the worker's requests on descriptor 3 and this program's
answers on descriptor 4, both as JSON-RPC 2.0 framed by Content-Length. Descriptors
0, 1 and 2 belong to the model: whatever it prints, and however, cannot reach the worker's
connection.

By hand: python harness.py BUNDLE_DIR WIRE TASK_FILE runs one task, writes its outputs to the
directory in MODELOPS_OUTPUT_DIR, and leaves an exception to Python.

This file is what every process needs. The others are compiled when they are needed: a
process that does nothing starts in little more than the interpreter's own time.

Standard library only; Python 3.9 and later (older ones get as far as saying what they are).
"""

import binascii
import os
import sys

try:
    # What json itself uses. json imports re and what that needs, which takes half as long as
    # the interpreter's own start, and many a model needs neither.
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    assert "".join(make_encoder({}, None, encode_basestring_ascii, None, ": ", ", ", False, False, True)({"a": 1}, 0)) == '{"a": 1}'
except Exception:  # another Python, or a later one that has it otherwise
    make_scanner = None

REQUESTS, ANSWERS = 3, 4
OUT_OF_THE_WAY = 200  # where the two are moved, so that a model that closes the first few does no harm
SPOOL_OVER = 64 * 1024  # bytes of an output that goes by file instead
INTERNAL, FAILED, NO_METHOD = -32603, -32000, -32601


HERE = os.path.dirname(os.path.abspath(__file__))
THIS = sys.modules[__name__]
PARTS = {}  # the other files: the worker puts their text here, of which modules are made when they are needed
PLACES = sys.path[1:]  # of the standard library and of packages: without this file's directory, which becomes the bundle's
STANDARD = getattr(sys, "stdlib_module_names", ("enum", "json", "re", "types"))  # Python 3.9 does not say
KNOWN = {}  # what is in the places on the path that are no bundle's


def part(name):
    """Another file as a module, which finds this one as harness."""
    if isinstance(PARTS[name], str):
        module = type(sys)("modelops_" + name)
        module.harness = THIS
        aside(exec, compile(PARTS[name], os.path.join(HERE, name + ".py"), "exec"), module.__dict__)
        PARTS[name] = module
    return PARTS[name]


def aside(call, *arguments):
    """Calls what imports modules of the standard library, whatever the bundle has of their names."""
    path, sys.path = sys.path, PLACES
    try:
        return call(*arguments)
    finally:
        sys.path = path


class Failure(Exception):
    """Something to be answered as an error, described already."""

    def __init__(self, kind, message, **details):
        super().__init__(message)
        self.data = dict(details, kind=kind, message=message)


class Harness:
    def __init__(self):
        self.bundle = None  # until the worker says which
        self.pid = os.getpid()
        self.wire = None
        self.targets = {}  # what was imported, by its name
        self.requests = open(move(REQUESTS, OUT_OF_THE_WAY), "rb")
        self.answers = move(ANSWERS, OUT_OF_THE_WAY + 1)
        self.streams = (os.dup(1), os.dup(2))
        os.set_inheritable(self.streams[0], False)
        os.set_inheritable(self.streams[1], False)
        self.environ = dict(os.environ)
        look_for_packages()  # before anybody waits for it

    def serve(self):
        methods = {
            "initialize": self.initialize, "entry_points": self.entry_points, "load": self.load, "run": self.run, "evaluate": self.evaluate,
        }
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
        return parse(self.requests.read(length).decode("utf-8"))

    def write(self, answer):
        body = encode_json(answer).encode("ascii")
        data = memoryview(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        while data:
            data = data[os.write(self.answers, data):]

    def initialize(self, bundle):
        self.bundle = bundle
        os.chdir(bundle)
        set_path(bundle)
        machine = os.uname()
        return {
            "python": sys.version.split()[0],
            "platform": sys.platform + "-" + machine.machine,
            "executable": sys.executable,
            "packages": {name: version for name, (version, _) in installed().items()},
        }

    def entry_points(self):
        """What installed distributions say they have as a wire: a file of each is read, so it
        is asked for only where that matters."""
        return {"entry_points": [wire for name, (_, path) in installed().items() for wire in wires_of(path, name)]}

    def explain_stops(self):
        """Has the process say where it is when it is told to end."""
        import faulthandler
        import _signal  # signal itself makes enumerations of all its names

        faulthandler.register(_signal.SIGTERM, file=self.streams[1], all_threads=True, chain=True)

    def load(self, target):
        self.explain_stops()
        sys.argv = [target]
        try:
            self.wire = find(self.bundle, target)
        except Failure:
            raise
        except BaseException as exception:
            raise part("failure").describe(exception, "import")

    def run(self, entrypoint, params, seed, environ, spool, max_output):
        self.restore(environ)
        try:
            outputs = self.wire(entrypoint, params, seed)
        except BaseException as exception:
            raise part("failure").describe(exception, "model")
        check(outputs)
        answer = []
        for number, (name, value) in enumerate(outputs.items()):
            try:
                answer.append(pack(name, value, os.path.join(spool, str(number)), str(number), max_output))
            except Failure:
                raise
            except BaseException as exception:
                raise part("failure").describe(exception, "output")
        return {"outputs": answer}

    def evaluate(self, target, replicates, environ):
        self.restore(environ)
        if not self.targets:
            self.explain_stops()
        return part("target").evaluate(self.targets, target, replicates)

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


def set_path(bundle):
    """Puts the bundle's code where this file's directory was on the path."""
    sys.path[0:1] = [path for path in (bundle, os.path.join(bundle, "src")) if os.path.isdir(path)]


def look_for_packages():
    """Looks at the places on the path ahead of time, all but this program's own."""
    for place in sys.path[1:]:
        KNOWN[place] = list(distributions(place))


def installed():
    """The distributions on the path, with their versions and where they are."""
    found = {}
    for place in sys.path:
        for name, version, path in KNOWN[place] if place in KNOWN else distributions(place):
            found.setdefault(name, (version, path))  # an earlier place on the path is the one that is imported
    return found


def distributions(place):
    try:
        names = os.listdir(place or ".")
    except OSError:
        return
    for entry in sorted([name for name in names if name.endswith((".dist-info", ".egg-info"))]):
        stem, extension = os.path.splitext(entry)
        path = os.path.join(place, entry)
        yield distribution(path, stem, extension) + (path,)


def distribution(path, stem, extension):
    name, dash, version = stem.rpartition("-")
    if extension == ".egg-info":
        parts = stem.split("-")
        name, version = parts[0], parts[1] if len(parts) > 1 else ""
        if not version:
            version = read_version(path)
    elif not dash:
        name, version = stem, ""
    return normal(name), version


def normal(name):
    """A distribution's name as indexes compare it. No regular expression: compiling one takes
    longer than all names together."""
    name = name.lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name


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
    file = os.path.join(bundle, place)
    if not os.path.isfile(file):
        raise Failure("wire_missing", "the bundle has no file " + place)
    stem = place[:-len(".py")]
    for prefix in ("src/", ""):
        name = stem[len(prefix):].replace("/", ".")
        if not stem.startswith(prefix) or not all(part.isidentifier() for part in name.split(".")):
            continue
        if name.split(".")[0] in sys.modules or name.split(".")[0] in STANDARD:
            continue  # the standard library's
        spec = find_spec(name)
        if spec is not None and spec.origin is not None and os.path.realpath(spec.origin) == os.path.realpath(file):
            return load_module(name)
    aside(__import__, "importlib.util")
    import importlib.util

    spec = importlib.util.spec_from_file_location("modelops_wire", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["modelops_wire"] = module
    spec.loader.exec_module(module)
    return module


def find_spec(name):
    """Where a module would be imported from. importlib.util says it too, and takes as long to
    import as all the rest of a call; it is needed for what lies in packages."""
    if "." in name:
        aside(__import__, "importlib.util")
        import importlib.util

        return importlib.util.find_spec(name)
    for finder in sys.meta_path:
        spec = finder.find_spec(name, None) if hasattr(finder, "find_spec") else None
        if spec is not None:
            return spec
    return None


def check(outputs):
    """Refuses an answer that is no dictionary of names."""
    if not isinstance(outputs, dict):
        raise Failure("output", "the wire answered %s, not a dictionary of outputs" % kind_of(outputs))
    for name in outputs:
        if not isinstance(name, str):
            raise Failure("output", "the wire answered an output whose name is %s, not a string" % kind_of(name))


def move(fd, to):
    """Moves a descriptor out of the way and keeps it from children."""
    os.dup2(fd, to, inheritable=False)
    os.close(fd)
    return to


class Scanning:
    """How JSON is read: as json does by default."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = parse_constant = float
    parse_int = int


def decode_json(text):
    if make_scanner is None:
        import json

        return json.loads(text)
    text = text.strip()
    value, end = make_scanner(Scanning)(text, 0)
    if end != len(text):
        raise ValueError("there is more than one value")
    return value


def encode_json(value):
    if make_scanner is None:
        import json

        return json.dumps(value)
    return "".join(make_encoder({}, unknown, encode_basestring_ascii, None, ": ", ", ", False, False, True)(value, 0))


def unknown(value):
    raise TypeError("%s is no JSON" % kind_of(value))


def parse(text):
    """Reads JSON with integers of any size."""
    if not hasattr(sys, "set_int_max_str_digits"):
        return decode_json(text)
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return decode_json(text)
    finally:
        sys.set_int_max_str_digits(limit)


def load_module(name):
    __import__(name)
    return sys.modules[name]


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
        raise Failure("output", "output %s has %d bytes, and may have %d" % (encode_json(name), len(data), max_output))
    if len(data) <= SPOOL_OVER:
        return {"name": name, "data": binascii.b2a_base64(data, newline=False).decode("ascii")}
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
    return {"name": name, "file": reference}


def encode(name, value):
    """An output's bytes."""
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:
            raise Failure("output", "output %s is text that is not valid Unicode" % encode_json(name))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise Failure("output", "output %s is %s, not bytes" % (encode_json(name), kind_of(value)))


if __name__ == "__main__":
    part("byhand").run(*sys.argv[1:])

"""Calls a target over the outputs of replicates.

harness is the module of harness.py, which has put it here.
"""

import binascii
import collections.abc
import numbers

MAX_DIAGNOSTICS = 1000


def evaluate(known, target, replicates):
    """What a target says; known are those that were imported, by their names."""
    if target not in known:
        known[target] = load_target(target)
    outputs = [{output["name"]: unpack(output) for output in replicate} for replicate in replicates]
    try:
        return measure(call_target(known[target], outputs))
    except harness.Failure:
        raise
    except BaseException as exception:
        raise harness.part("failure").describe(exception, "model")


def load_target(target):
    place, _, name = target.partition(":")
    try:
        found = getattr(harness.load_module(place), name, None)
    except BaseException as exception:
        raise harness.part("failure").describe(exception, "import")
    if found is None:
        raise harness.Failure("import", "the module %s has no %s" % (place, name))
    return found


def unpack(output):
    if "file" not in output:
        return binascii.a2b_base64(output["data"])
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
        raise harness.Failure("output", "it takes %s, and is called with the replicates alone" % signature)
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
        raise harness.Failure("output", "polars cannot read the output %s as a table: %s" % (harness.encode_json(name), harness.part("failure").shorten(harness.part("failure").text_of(exception))),
                      type=type(exception).__name__)


def measure(answer):
    """The loss and the further numbers of what a target said."""
    further = {}
    if isinstance(answer, collections.abc.Mapping):
        if "loss" not in answer:
            raise harness.Failure("output", "it answered a mapping without loss")
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
        raise harness.Failure("output", "its loss is %s, not a number" % harness.kind_of(loss))
    if not finite(value):
        raise harness.Failure("output", "its loss is %s, not a finite number" % value)
    if len(further) > MAX_DIAGNOSTICS:
        raise harness.Failure("output", "it answered %d further numbers, and may answer %d" % (len(further), MAX_DIAGNOSTICS))
    return {"loss": value, "diagnostics": diagnostics_of(further)}


def diagnostics_of(further):
    """Numbers by their names; those that are not finite are left out."""
    diagnostics = {}
    for name, value in further.items():
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise harness.Failure("output", "it answered a further number whose name is %s" % ascii(name)[:200])
        value = number_of(value)
        if value is None:
            raise harness.Failure("output", "it answered %s for %s, not a number" % (harness.kind_of(further[name]), harness.encode_json(name)))
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

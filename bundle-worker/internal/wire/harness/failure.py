"""Describes what a model raised.

harness is the module of harness.py, which has put it here.
"""

import os

MAX_TEXT = 64 * 1024  # characters of a message or traceback


def describe(exception, kind):
    """The failure that an exception of the model's is."""
    first = root(exception)
    message = shorten(text_of(exception))
    if isinstance(exception, SystemExit):
        code = exception.code
        return harness.Failure("exit", "the model called sys.exit(%s)" % ("" if code is None else shorten(repr(code))),
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
    return harness.Failure(kind, message or type(exception).__name__, type=type(exception).__name__,
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
    """The traceback, without the lines of these files and of the import system above the model's."""
    harness.aside(__import__, "traceback")
    import traceback

    frames = exception.__traceback__
    while frames is not None:
        name = frames.tb_frame.f_code.co_filename
        if os.path.dirname(name) != harness.HERE and "importlib" not in name:
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

"""Runs one task for somebody in a shell.

harness is the module of harness.py, which has put it here.
"""

import os
import sys


def run(bundle, target, file):
    """Runs the task in a file for somebody in a shell."""
    bundle = os.path.abspath(bundle)
    harness.set_path(bundle)
    sys.argv = [target]
    with open(file, encoding="utf-8") as stream:
        task = harness.parse(stream.read())
    try:
        wire = harness.find(bundle, target)
        outputs = wire(task["entrypoint"], task["params"]["values"], task["seed"])
        harness.check(outputs)
        for name, value in outputs.items():
            path = os.path.join(os.environ["MODELOPS_OUTPUT_DIR"], name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as stream:
                stream.write(harness.encode(name, value))
            print("%s: %d bytes" % (path, os.path.getsize(path)))
    except harness.Failure as failure:
        sys.exit("error: %s" % failure)

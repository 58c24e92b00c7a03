"""Finds what is installed."""

import os
import sys


KNOWN = {}  # what is in the places on the path that are no bundle's


def look():
    """Looks at the places on the path ahead of time, all but this program's own."""
    for place in sys.path[1:]:
        KNOWN[place] = list(distributions(place))


def installed():
    """The distributions on the path with their versions, and those that are a wire."""
    packages, wires = {}, []
    for place in sys.path:
        for name, version, path in KNOWN.get(place) or distributions(place):
            if name in packages:
                continue  # an earlier place on the path is the one that is imported
            packages[name] = version
            wires.extend(wires_of(path, name))
    return packages, wires


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

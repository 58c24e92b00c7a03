"""Reads Python files with ast, and never imports them.

stdin:  {"root": DIR, "files": [PATH...], "want": [PATH...]}, paths below root
stdout: {"files": {PATH: {"error": null | {"line", "message"},
                          "classes": {NAME: {"line", "model", "outputs"}},
                          "functions": {NAME: LINE}, "targets": [...], "imports": [PATH...]}}}
Needs Python 3.9.
"""

import ast
import json
import os
import sys

NOT_MODELS = {"pydantic", "pydantic_settings", "sqlmodel"}


class Module:
    def __init__(self, root, path):
        self.path, self.error = path, None
        try:
            with open(os.path.join(root, path), "rb") as f:
                self.tree = ast.parse(f.read(), path)
        except SyntaxError as e:
            self.error, self.tree = {"line": e.lineno or 0, "message": e.msg}, ast.Module([], [])
        except (ValueError, RecursionError, MemoryError, OSError) as e:
            self.error, self.tree = {"line": 0, "message": str(e)}, ast.Module([], [])
        self.classes = {n.name: n for n in self.tree.body if isinstance(n, ast.ClassDef)}
        self.functions = {n.name: n for n in self.tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}
        self.names = {}  # local name: (module, name or None), of imports anywhere in the file
        self.imported = set()
        package = self.package()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for a in node.names:
                    self.imported.add(a.name)
                    self.names[a.asname or a.name.split(".")[0]] = (a.name if a.asname else a.name.split(".")[0], None)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    up = package[: len(package) - node.level + 1] if node.level <= len(package) + 1 else []
                    base = ".".join(up + ([node.module] if node.module else []))
                self.imported.add(base)
                for a in node.names:
                    self.imported.add((base + "." if base else "") + a.name)
                    self.names[a.asname or a.name] = (base, a.name)

    def package(self):
        parts = self.path.split("/")[:-1]
        return parts[1:] if parts[:1] == ["src"] else parts


class Project:
    def __init__(self, root, files):
        self.root, self.files, self.modules = root, set(files), {}

    def load(self, path):
        if path not in self.modules:
            self.modules[path] = Module(self.root, path)
        return self.modules[path]

    def find(self, dotted):
        """The project's file of a module, or None."""
        if not dotted:
            return None
        stem = dotted.replace(".", "/")
        for candidate in (stem + ".py", stem + "/__init__.py", "src/" + stem + ".py", "src/" + stem + "/__init__.py"):
            if candidate in self.files:
                return candidate
        return None

    def resolve(self, module, expr):
        """(module's path or dotted name, class name) that an expression names."""
        if isinstance(expr, ast.Subscript):
            return self.resolve(module, expr.value)
        if isinstance(expr, ast.Name):
            if expr.id in module.classes:
                return module.path, expr.id
            source, name = module.names.get(expr.id, ("", expr.id))
            return self.find(source) or source, name or expr.id
        if isinstance(expr, ast.Attribute):
            parts = dotted(expr).split(".")
            source, name = module.names.get(parts[0], (parts[0], None))
            base = ".".join([source] + ([name] if name else []) + parts[1:-1])
            return self.find(base) or base, parts[-1]
        return "", ""

    def lineage(self, module, name, seen=None):
        """The classes of the project that a class is made of, itself first, and what they end at."""
        seen = set() if seen is None else seen
        if (module.path, name) in seen:
            return [], []
        seen.add((module.path, name))
        own, ends = [(module, module.classes[name])], []
        for base in module.classes[name].bases:
            where, cls = self.resolve(module, base)
            if where in self.files:
                other = self.load(where)
                if cls in other.classes:
                    more, further = self.lineage(other, cls, seen)
                    own += more
                    ends += further
                    continue
                if cls in other.names:  # handed on by a package's __init__
                    source, original = other.names[cls]
                    source = self.find(source) or source
                    if source in self.files and original in self.load(source).classes:
                        more, further = self.lineage(self.load(source), original, seen)
                        own += more
                        ends += further
                        continue
                    where, cls = source, original or cls
            ends.append((where, cls))
        return own, ends

    def describe(self, module, name):
        own, ends = self.lineage(module, name)
        outputs = []
        for _, node in reversed(own):
            for item in node.body:
                if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    outputs += [o for o in map(lambda d: output(d, item.name), item.decorator_list) if o and o not in outputs]
        # A package of the bundle's own may have the BaseModel.
        bases = ends + [(m.path, node.name) for m, node in own[1:]]
        other = any(where.split(".")[0] in NOT_MODELS for where, _ in ends)
        model = not other and any(cls == "BaseModel" for _, cls in bases)
        return {"line": module.classes[name].lineno, "model": model, "outputs": outputs}

    def imports(self, path, seen):
        for name in sorted(self.load(path).imported):
            parts = name.split(".")
            for n in range(1, len(parts) + 1):
                found = self.find(".".join(parts[:n]))
                if found and found not in seen:
                    seen.add(found)
                    self.imports(found, seen)
        return seen


def dotted(expr):
    if isinstance(expr, ast.Attribute):
        return dotted(expr.value) + "." + expr.attr
    return expr.id if isinstance(expr, ast.Name) else ""


def literal(node):
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def called(decorator, name):
    func = decorator.func if isinstance(decorator, ast.Call) else decorator
    return dotted(func).split(".")[-1] == name


def output(decorator, default):
    if not called(decorator, "model_output"):
        return None
    if isinstance(decorator, ast.Call):
        named = decorator.args[:1] + [k.value for k in decorator.keywords if k.arg == "name"]
        if named:
            value = literal(named[0])
            return value if isinstance(value, str) else default
    return default


def target(function):
    for decorator in function.decorator_list:
        if not called(decorator, "calibration_target"):
            continue
        words = {k.arg: k.value for k in decorator.keywords if k.arg} if isinstance(decorator, ast.Call) else {}
        values, unread = {}, []
        for word in ("name", "model_output", "data"):
            if word in words:
                values[word] = literal(words[word])
                if values[word] is None:
                    unread.append(word)
        data = values.get("data")
        data = list(data.values()) if isinstance(data, dict) else data
        data = [data] if isinstance(data, str) else data
        files = []
        for d in data if isinstance(data, (list, tuple)) else []:
            files += [d] if isinstance(d, str) else [x for x in d if isinstance(x, str)] if isinstance(d, (list, tuple)) else []

        def text(word):
            return values[word] if isinstance(values.get(word), str) else function.name

        return {"function": function.name, "line": function.lineno, "name": text("name"),
                "output": text("model_output"), "data": files, "unread": unread}
    return None


def main():
    ask = json.load(sys.stdin)
    project, answer = Project(ask["root"], ask["files"]), {}
    for path in ask["want"]:
        m = project.load(path)
        answer[path] = {
            "error": m.error,
            "classes": {name: project.describe(m, name) for name in m.classes},
            "functions": {name: f.lineno for name, f in m.functions.items()},
            "targets": [t for t in map(target, m.functions.values()) if t],
            "imports": sorted(project.imports(path, {path}) - {path}),
        }
    json.dump({"files": answer}, sys.stdout)


main()

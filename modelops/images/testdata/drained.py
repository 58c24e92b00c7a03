"""A scheduler, workers with drain.py, and one of them told to end: python drained.py WHEN DIR.

WHEN is "others" (another worker is there), "alone" (none is), "idle" (nothing runs) or
"abandoned" (the scheduler is gone).
"""

import pathlib
import signal
import subprocess
import sys
import time

from distributed import Client

DRAIN = pathlib.Path(__file__).parent.parent / "drain.py"
LIMIT = 120  # seconds, for what takes a few

when, place = sys.argv[1], pathlib.Path(sys.argv[2])
processes = []


def start(kind, *arguments):
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
    process = subprocess.Popen(command, cwd=place, stderr=open(place / f"{kind}-{len(processes)}.log", "wb"))
    processes.append(process)
    return process


def worker(name):
    return start("worker", "--scheduler-file", "scheduler.json", "--no-nanny", "--preload", str(DRAIN), "--nthreads", "1",
                 "--name", name, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--local-directory", str(place / name))


def task(place, number):
    """Notes that it began, and runs until it is let go."""
    with open(f"{place}/began-{number}", "a") as began:
        began.write("x")
    while not pathlib.Path(f"{place}/go").exists():
        time.sleep(0.05)
    return number


def until(what, check):
    deadline = time.monotonic() + LIMIT
    while not check():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {LIMIT} seconds")
        time.sleep(0.05)


def began():
    return sorted(path.name for path in place.glob("began-*"))


def log_of(process):
    return (place / f"worker-{processes.index(process)}.log").read_text()


def check():
    scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", "scheduler.json")
    until("a scheduler", (place / "scheduler.json").exists)
    first = worker("first")
    client = Client(scheduler_file=str(place / "scheduler.json"), set_as_default=False)
    client.wait_for_workers(1, timeout=LIMIT)
    futures = [] if when == "idle" else [client.submit(task, str(place), number, pure=False) for number in range(3)]
    if futures:
        until("a task", began)
    first.send_signal(signal.SIGTERM)
    until("its word", lambda: "SIGTERM" in log_of(first))
    if when == "others":
        worker("second")
        until("the others to run there", lambda: len(began()) == 2)
    if when == "abandoned":
        scheduler.kill()
        scheduler.wait()
    time.sleep(1)  # in which it must not end, nor begin anything
    if when in ("others", "alone") and first.poll() is not None:
        raise SystemExit("it ended with a task in it")
    (place / "go").touch()
    if when == "alone":
        until("a result", lambda: any(future.done() for future in futures))
        held = next(future for future in futures if future.done())
        time.sleep(2)
        if first.poll() is not None:
            raise SystemExit("it ended with a result that nobody else has")
        held.result()
        held.release()
        futures.remove(held)
        if len(began()) != 1:
            raise SystemExit(f"it began tasks after it was told to end: {began()}")
    if first.wait(LIMIT) != 0:
        raise SystemExit(f"it ended with exit code {first.returncode}")
    if when == "others":
        if client.gather(futures) != [0, 1, 2]:
            raise SystemExit("results are missing")
        twice = [name for name in began() if (place / name).read_text() != "x"]
        if twice:
            raise SystemExit(f"tasks ran twice: {twice}")
    if when != "abandoned":
        client.close()


try:
    check()
except BaseException:
    for log in sorted(place.glob("*.log")):
        print(log.name, log.read_text(), sep="\n", file=sys.stderr)
    raise
finally:
    for process in processes:
        process.kill()
        process.wait()

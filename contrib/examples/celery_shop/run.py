"""Start a worker of Celery's, send orders, kill the worker halfway, start another, and show what came of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ORDERS = 40


def worker() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "2", "-l", "WARNING"]
    return subprocess.Popen(command, cwd=HERE, start_new_session=True)


def main() -> None:
    import shop

    shop.FILE.parent.mkdir(parents=True, exist_ok=True)
    print(f"the queue is {shop.FILE}")
    running = worker()
    parcels = [shop.buy(order) for order in range(ORDERS)]
    while not any(parcel.ready() for parcel in parcels):
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    print(f"worker {running.pid} is killed; {sum(parcel.ready() for parcel in parcels)} parcels are ready")
    running = worker()
    print(f"worker {running.pid} is started")
    for parcel in parcels:
        print(parcel.get(timeout=60))
    running.terminate()
    running.wait()
    print(f"{ORDERS} parcels. The same file by liteq's tools:")
    liteq = [sys.executable, "-m", "liteq", "-b", f"sqlite:///{shop.FILE}"]
    subprocess.run([*liteq, "result", parcels[-1].id], check=True)
    subprocess.run([*liteq, "dead", "list"], check=True)


if __name__ == "__main__":
    main()

"""How soon a dead server is noticed, and how soon a returned one is used again.

    python tests/bench/bench_reconnect.py [--times N] [--json]

A server is closed and opened again on the same port; once in the end it falls silent.
"""

from __future__ import annotations

import argparse
import json
import queue
import socket
import statistics
import threading
import time

from tracking.client import Client, LinkState
from tracking.server import Server


def measure(n_times: int) -> dict[str, float]:
    """Seconds from an event to the client's report of it: medians and maxima."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    states: queue.SimpleQueue[tuple[LinkState, float]] = queue.SimpleQueue()
    stop = threading.Event()
    client = Client(
        "127.0.0.1",
        port,
        on_image=lambda image: None,
        on_pose=lambda pose: None,
        on_bad_image=lambda name, reason: None,
        on_state=lambda state, sentence: states.put((state, time.perf_counter())),
    )
    thread = threading.Thread(target=client.run, args=(stop,))
    thread.start()

    def reported(wanted: LinkState) -> float:
        while True:
            state, t_s = states.get(timeout=20.0)
            if state is wanted:
                return t_s

    noticed_s, back_s = [], []
    try:
        for _ in range(n_times):
            begin_s = time.perf_counter()
            server = Server(port=port)
            back_s.append(reported(LinkState.CONNECTED) - begin_s)
            assert server.wait_for_client(10.0)
            time.sleep(0.05)  # the greeting and its answer
            begin_s = time.perf_counter()
            server.close()  # includes the join of its threads, which is no part of noticing
            noticed_s.append(reported(LinkState.CLOSED) - begin_s)
            time.sleep(0.3)
        with socket.create_server(("127.0.0.1", port)) as mute:
            peer, _ = mute.accept()
            begin_s = time.perf_counter()
            with peer:
                silent_s = reported(LinkState.SILENT) - begin_s
    finally:
        stop.set()
        thread.join()
    return {
        "close_noticed_p50_s": statistics.median(noticed_s),
        "close_noticed_max_s": max(noticed_s),
        "back_p50_s": statistics.median(back_s),
        "back_max_s": max(back_s),
        "silence_noticed_s": silent_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Noticing a dead server, and its return.")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.times)
    if arguments.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{key:24}{value:8.3f}" for key, value in figures.items()))


if __name__ == "__main__":
    main()

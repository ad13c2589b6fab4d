"""FAST (pyfast) as a client of the sender in `bench_peers.py`; run by its own interpreter.

    PYTHON_OF_PYFAST tests/bench/fast_client.py PORT SECONDS [MODEL ENGINE]

Prints one JSON line: latency from the pixels' making to the array in Python, and images per
second, after a second and a half of warm-up. FAST's own messages go before it.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time

import fast  # type: ignore[import-not-found]
import numpy as np

_WARM_UP_S = 1.5


def main() -> None:
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    stream = fast.OpenIGTLinkStreamer.create("127.0.0.1", port)
    if len(sys.argv) > 3:
        network = fast.SegmentationNetwork.create(
            sys.argv[3], scaleFactor=1 / 255.0, inferenceEngine=sys.argv[4],
            hasBackgroundClass=False,
        ).connect(stream)  # fmt: skip
        results = ((image, np.asarray(mask)) for image, mask in fast.DataStream(stream, network))
    else:
        stream.getOutputPort(0)
        results = ((image, None) for image in fast.DataStream(stream))
    seen: dict[int, tuple[float, float]] = {}  # by number: when it was held, and its latency
    begin_s = None
    for image, _ in results:
        number, made_ns = struct.unpack("<qq", bytes(np.asarray(image).reshape(-1)[:16]))
        now_s = time.perf_counter()
        begin_s = now_s if begin_s is None else begin_s
        if now_s > begin_s + _WARM_UP_S:
            seen.setdefault(number, (now_s, now_s - made_ns * 1e-9))
        if now_s > begin_s + _WARM_UP_S + seconds:
            break
    held_s, latency_s = np.array(list(seen.values())).T
    figures = {
        "latency_p50_ms": 1e3 * float(np.median(latency_s)),
        "latency_p95_ms": 1e3 * float(np.percentile(latency_s, 95)),
        "images_hz": (len(held_s) - 1) / float(held_s[-1] - held_s[0]),
    }
    print("\n" + json.dumps(figures), flush=True)
    os._exit(0)  # its threads cannot be stopped


if __name__ == "__main__":
    main()

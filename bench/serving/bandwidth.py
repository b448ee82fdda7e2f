"""Streaming read bandwidth of one thread, in bytes per CPU-second, printed as JSON.

Usage: bandwidth.py, with OPENBLAS_NUM_THREADS=1. Reads 1 GiB of anonymous memory, with huge pages asked for, by what numpy has
that is fastest here: sums and dot products of f32, of one stream or of two halves. The best of all runs counts: neighbours and
a slow loop can only make it less, so a share of it is, if anything, told too high where no loop of numpy's reaches the limit.
"""

import json
import mmap
import time

import numpy as np

BYTES, ROUNDS = 1 << 30, 5

memory = mmap.mmap(-1, BYTES)
memory.madvise(mmap.MADV_HUGEPAGE)
values = np.frombuffer(memory, dtype=np.float32)
values[:] = 1
halves = values.reshape(2, -1)
eighths = values.reshape(8, -1)
loops = {
    "sum": lambda: values.sum(),
    "dot of two halves": lambda: np.dot(halves[0], halves[1]),
    "maximum": lambda: values.max(),
    "whole numbers' maximum": lambda: values.view(np.int64).max(),
    "matrix by vector, 8 rows": lambda: eighths @ halves[0][: eighths.shape[1]],
}
best = {}
for name, loop in loops.items():
    loop()
    for _ in range(ROUNDS):
        since = time.process_time()
        loop()
        best[name] = max(best.get(name, 0), BYTES / (time.process_time() - since))
fastest = max(best, key=best.get)
print(json.dumps({"bytes_per_cpu_second": best[fastest], "loop": fastest, "loops": best}))

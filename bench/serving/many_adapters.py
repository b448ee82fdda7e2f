"""Ten thousand adapters with distinct contents, for model.py's base.

Usage: many_adapters.py FOLDER. The first LARGE have rank 8 on all seven projections (4.9 MB each, as a real one of this shape has);
the others have rank 1 on queries and values (0.1 MB). Values are cut from one pool of random bf16 at another place for each, which
takes no drawing. 6 GB in all.
"""

import sys
from pathlib import Path

import model
from cases import COUNT, LARGE


def main(folder):
    done = folder / ".whole"
    if done.exists():
        return
    pool = model.draws(7)(8 << 20)
    for number in range(COUNT):
        # A prime, so that no two adapters cut at the same places.
        place = number * 769

        def draw(*shape):
            nonlocal place
            size = shape[0] * shape[1]
            start = place % (pool.size - size)
            place += size
            return pool[start : start + size].reshape(shape)

        if number < LARGE:
            model.adapter(folder / f"z{number:05}", draw)
        else:
            model.adapter(folder / f"z{number:05}", draw, rank=1, names=("self_attn.q_proj", "self_attn.v_proj"))
    # One that is not there when the server starts: it lies a folder deeper.
    model.adapter(folder / "more" / "again", model.draws(8))
    done.touch()


main(Path(sys.argv[1]))

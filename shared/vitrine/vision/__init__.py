"""Networks, preprocessing and projection. Needs torch (the extra `vitrine[vision]`); only the embedder and the trainer
use it.
"""

import os

from vitrine.vision.allocator import keep_freed_memory

# Read once, when torch loads its OpenMP library. By default a thread that waits for its fellows spins: with one core
# taken by a neighbour, every layer then waits out a scheduling slice, and a picture takes a second instead of 20 ms.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

keep_freed_memory()

"""Shards -> batches -> model -> checkpoints. Imports `study` and `shards` of the project, nothing
above.

OpenMP threads that spin while they wait take the cores from each other and from the loader's
threads: on two shared cores a step took 0.9 s instead of 4 s once they slept (torch 2.13, libgomp).
It is read when torch is first loaded.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

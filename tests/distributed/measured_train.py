"""`python -m tests.distributed.measured_train ARGUMENTS` is `python -m pvchat_jax.train ARGUMENTS` and ends with the line `peak BYTES`."""

import resource

from pvchat_jax import train

if __name__ == "__main__":
    train.main()
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}", flush=True)

"""MONAI's local NCC and its gradient, timed once per line of input; `local_ncc.py` starts it.

    python benchmarks/monai_local_ncc.py SHAPE WINDOW THREADS

Prints "ready", then the seconds of each pass. Needs MONAI and PyTorch, not TensorFlow.
"""

import sys
import time

import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss


def main():
    shape = [int(size) for size in sys.argv[1].split(",")]
    torch.set_num_threads(int(sys.argv[3]))
    loss = LocalNormalizedCrossCorrelationLoss(
        spatial_dims=len(shape), kernel_size=int(sys.argv[2]), kernel_type="rectangular"
    )
    generator = torch.Generator().manual_seed(0)
    fixed, warped = (torch.rand(1, 1, *shape, generator=generator) for _ in range(2))
    warped.requires_grad_()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        torch.autograd.grad(loss(warped, fixed), warped)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()

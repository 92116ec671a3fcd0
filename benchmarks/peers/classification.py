"""What torchvision needs for the jobs of ../classification.py, which runs this file in an environment of its own.

    python peers/classification.py SIZE-PRECISION REPEATS     SIZE 28 or 224, PRECISION float32 or bfloat16 (autocast)

Prints wall and processor seconds per step and peak memory as JSON. Channels-last memory, which is PyTorch's faster
layout for convolutions; on the GPU where torch sees one.
"""

import json
import resource
import sys
import time
from contextlib import nullcontext

import torch
from torch import nn
from torchvision.models import resnet18

BATCH = {28: 128, 224: 16}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def step(size: int, precision: str):
    network = resnet18(num_classes=2)
    if size == 28:
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    network = network.to(DEVICE, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-4)
    images = torch.randn(BATCH[size], 3, size, size).to(DEVICE, memory_format=torch.channels_last)
    targets = (torch.arange(BATCH[size]) % 2).to(DEVICE)
    torch.backends.cudnn.benchmark = True

    def once():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, torch.bfloat16) if precision == "bfloat16" else nullcontext():
            loss = nn.functional.cross_entropy(network(images), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return once


def main() -> None:
    size, precision = sys.argv[1].split("-")
    once = step(int(size), precision)
    once()
    wall, processor = [], []
    for _ in range(int(sys.argv[2])):
        began, used = time.perf_counter(), time.process_time()
        once()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": wall, "processor": processor, "peak_gib": peak}))


if __name__ == "__main__":
    main()

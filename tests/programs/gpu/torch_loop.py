"""A network in PyTorch on each picture of a camera that gives one 20 ms after the last answer.

python torch_loop.py MODEL.pt2 cuda|cpu
"""

import contextlib
import sys
import time

import numpy as np
import torch

device = sys.argv[2]
model = torch.export.load(sys.argv[1]).module().to(device)
pixels = np.random.default_rng(0).random((1, 3, 192, 320), np.float32)
with torch.inference_mode(), contextlib.suppress(KeyboardInterrupt):
    while True:
        scores = model(torch.from_numpy(pixels).to(device))
        best = max(float(score.cpu().numpy().max()) for score in scores)
        time.sleep(0.02)

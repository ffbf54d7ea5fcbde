"""A video through a network of torchvision with its weights' transforms; the weights are drawn at random."""

import sys

import cv2
import torch
import torchvision

weights = torchvision.models.MobileNet_V3_Large_Weights.DEFAULT
model = torchvision.models.mobilenet_v3_large(weights=None).eval()
preprocess = weights.transforms()
capture = cv2.VideoCapture(sys.argv[1])
with torch.inference_mode():
    while True:
        ok, picture = capture.read()
        if not ok:
            break
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        batch = preprocess(torch.from_numpy(rgb).permute(2, 0, 1)).unsqueeze(0)
        best = model(batch).squeeze(0).softmax(0).argmax().item()
print(best)

"""Settings of the PyTorch suite."""

import torch

torch.set_num_threads(1)  # tensors here are small: more threads only wait for one another

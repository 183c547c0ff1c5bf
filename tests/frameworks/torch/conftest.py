"""Settings of the PyTorch suite."""

import torch

torch.set_num_threads(1)  # tensors here are small: more threads only wait for one another


def pytest_configure(config):
    # torch.compile itself still uses it
    config.addinivalue_line("filterwarnings", "ignore:.torch.jit.script_method. is deprecated")

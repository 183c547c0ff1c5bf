"""Models as ONNX files, from Python or the command line.

    python -m nearfar.onnx model.safetensors model.onnx

Writing needs the package ``onnx`` (``pip install 'nearfar[onnx]'``); running the file does not.
"""

import argparse

from ._onnx import export_onnx, to_onnx
from .model import Model

__all__ = ["export_onnx", "to_onnx"]


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nearfar.onnx",
                                     description="Write a model of nearfar as an ONNX file.")
    parser.add_argument("model", help="file of nearfar train or Model.save (safetensors)")
    parser.add_argument("output", help="ONNX file to write")
    arguments = parser.parse_args()
    try:
        export_onnx(Model.load(arguments.model), arguments.output)
    except (ImportError, OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    _main()

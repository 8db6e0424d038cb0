"""Small model files for the import's tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from gguf import GGUFWriter


def write_gguf(path: Path) -> Path:
    """Write a whole GGUF file with one tensor of 64 Ki parameters and no tokenizer."""
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("token_embd.weight", np.zeros((256, 256), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_safetensors(path: Path, dtype: str = "BF16") -> Path:
    """Write a safetensors file with one tensor of two elements."""
    data = bytes(4)
    header = json.dumps({"weight": {"dtype": dtype, "shape": [2], "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


def write_model_folder(folder: Path) -> Path:
    """Write a Hugging Face folder whose weights need no conversion."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "LICENSE.txt").write_text("Apache-2.0")
    (folder / "pytorch_model.pt").write_text("not for vLLM")
    write_safetensors(folder / "model.safetensors")
    return folder

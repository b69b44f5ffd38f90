"""The shape of a pack and random weights of it, for the peers' formats. In: a pack's manifest.json. Out: sizes, arrays."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np


def read(pack: Path) -> SimpleNamespace:
    """The configuration that `halfdepth random` wrote, under our names of its fields."""
    config = json.loads((pack / "manifest.json").read_text())["config"]
    return SimpleNamespace(**config)


def scaling(shape: SimpleNamespace) -> dict | None:
    """Llama 3's change of the rotary frequencies as Hugging Face spells it; None where there is none."""
    if shape.rope["scaling"] == "none":
        return None
    llama3 = shape.rope["scaling"]["llama3"]
    return {
        "rope_type": "llama3",
        "factor": llama3["factor"],
        "low_freq_factor": llama3["low_freq_factor"],
        "high_freq_factor": llama3["high_freq_factor"],
        "original_max_position_embeddings": llama3["original_context"],
    }


def matrix(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """Values small enough for activations to stay finite in f16, (rows, cols)."""
    return rng.standard_normal((rows, cols), dtype=np.float32) * np.float32(0.02)

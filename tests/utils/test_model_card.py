from __future__ import annotations

from src.models.svq_model import SVQ
from src.utils.model_card import model_card


def test_a_card_says_what_is_known() -> None:
    model = {"image_size": 16, "in_channels": 3, "num_slots": 4, "num_codebooks": 2, "codebook_size": 8}
    prior = {"num_layers": 2, "embed_dim": 8}
    content = {
        "model_config": {**model, "prior": prior},
        "config": {"seed": 0, "data": {"name": "shapes", "max_shapes": 3, "path": None}},
        "metrics": {"FG-ARI": 0.98765, "codes": 512, "unknown": None, "mIoU, %": "45.0"},
    }
    lines = model_card("tiny", SVQ, content, "results/tiny.json", compact=True).splitlines()
    assert lines[0] == "---" and "# tiny" in lines
    assert 'model = SVQ.from_pretrained("tiny")  # the folder of this file' in lines
    assert "from src.models.svq_model import SVQ  # of the wheel: from svq.models.svq_model import SVQ" in lines
    for row in ("slots a scene | 4", "prior | 2 layers, 8 wide", "trained on | name shapes, max_shapes 3", "seed | 0"):
        assert f"| {row} |" in lines
    for row in ("FG-ARI | 0.9877", "codes | 512", "mIoU, % | 45.0"):
        assert f"| {row} |" in lines
    assert not any("unknown" in line or "None" in line for line in lines)
    assert lines[-1] == "From `results/tiny.json`; scores are of the weights before rounding."


def test_a_card_of_an_untrained_model_has_no_scores() -> None:
    model = {"image_size": 16, "in_channels": 3, "vocab_size": 12, "prior": None}
    card = model_card("tiny", SVQ, {"model_config": model, "config": {}, "metrics": {}})
    assert "| prior | none |" in card and "| codes to choose from | 12 |" in card
    assert "score" not in card and "From" not in card and "trained on" not in card

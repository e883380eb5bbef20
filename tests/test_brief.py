"""The Python snippets that the project was asked for, run as they stand.

They are copied here word for word. Only `...` is filled in and sizes are shrunk, by the replacements listed
below, each of which must be found in its snippet.
"""

from __future__ import annotations

import math
import re
import statistics
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch

from src.models.svq_model import SVQ
from src.utils.checkpoint_io import FORMAT, VERSION, atomic_save

matplotlib.use("Agg")

DATASET = """\
from src.data.toy_datasets import ShapesDataset

# 데이터셋 생성
dataset = ShapesDataset(num_samples=1000, image_size=64, max_shapes=4)

# 샘플 시각화
dataset.visualize_samples(num_samples=5, save_path="samples.png")
"""

ENCODER = """\
from src.models.slot_attention import SlotAttentionEncoder

encoder = SlotAttentionEncoder(
    image_size=64,
    num_slots=4,
    num_iterations=3,
    in_channels=3,
    slot_size=64,
    hidden_dim=64
)
"""

QUANTIZER = """\
from src.models.vector_quantizer import SemanticVectorQuantizer

quantizer = SemanticVectorQuantizer(
    num_slots=4,
    slot_dim=64,
    num_codebooks=4,
    codebook_size=512,
    code_dim=16,
    commitment_cost=0.25
)
"""

DECODER = """\
from src.models.svq_model import SVQDecoder

decoder = SVQDecoder(
    slot_dim=64,
    hidden_dim=64,
    num_slots=4,
    image_size=64,
    out_channels=3
)
"""

PRIOR = """\
from src.models.transformer_decoder import AutoregressiveTransformer

prior = AutoregressiveTransformer(
    num_slots=4,
    num_codebooks=4,
    codebook_size=512,
    embed_dim=256,
    num_heads=8,
    num_layers=4,
    dropout=0.1
)
"""

CUDA = """\
import torch
print(f"CUDA available: {torch.cuda.is_available()}")
print(f"CUDA device count: {torch.cuda.device_count()}")
"""

GENERATION = """\
# 모델 로드
model = SVQ(...)
model.load_state_dict(torch.load("checkpoints/best_model.pth")["model_state_dict"])
model.init_prior(...)

# 이미지 생성
generated_images = model.generate(batch_size=8, temperature=1.0)
"""

TRAINING = """\
from src.models.svq_model import SVQ
from src.data.toy_datasets import get_data_loaders
import torch
import torch.optim as optim

# 데이터 로더 생성
train_loader, val_loader = get_data_loaders(
    dataset_name='shapes',
    batch_size=32,
    num_workers=4,
    num_samples=10000,
    image_size=64,
    max_shapes=4
)

# 모델 생성
model = SVQ(
    image_size=64,
    in_channels=3,
    num_slots=4,
    num_iterations=3,
    slot_size=64,
    num_codebooks=4,
    codebook_size=512,
    code_dim=16,
    hidden_dim=64,
    commitment_cost=0.25
)

# 오토리그레시브 프라이어 초기화 (선택적)
model.init_prior(
    embed_dim=128,
    num_heads=8,
    num_layers=4,
    dropout=0.1
)

# 옵티마이저 설정
optimizer = optim.Adam(model.parameters(), lr=0.0001)

# 학습 루프
for epoch in range(100):
    for batch_idx, data in enumerate(train_loader):
        # 모델 순전파
        outputs = model(data)
        
        # 손실 계산
        loss, loss_dict = model.compute_loss(
            data,
            outputs,
            recon_loss_weight=1.0,
            commitment_loss_weight=0.25
        )
        
        # 역전파 및 최적화
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""

VISUALISATION = """\
import matplotlib.pyplot as plt
import torch

# 모델 로드
model = SVQ(...)
model.load_state_dict(torch.load("checkpoints/best_model.pth")["model_state_dict"])

# 샘플 데이터
data = next(iter(val_loader))

# 모델 순전파
outputs = model(data)

# 결과 시각화
plt.figure(figsize=(15, 5))

# 원본 이미지
plt.subplot(1, 3, 1)
plt.imshow(data[0].permute(1, 2, 0).numpy())
plt.title("Input")
plt.axis("off")

# 재구성 이미지
plt.subplot(1, 3, 2)
plt.imshow(outputs["recon"][0].detach().permute(1, 2, 0).numpy())
plt.title("Reconstruction")
plt.axis("off")

# 첫 번째 슬롯 마스크
plt.subplot(1, 3, 3)
plt.imshow(outputs["masks"][0, 0, 0].detach().numpy(), cmap="viridis")
plt.title("Slot 1 Mask")
plt.axis("off")

plt.tight_layout()
plt.savefig("visualization.png")
"""


# ---------------------------------------------------------------- what is filled in, and what is shrunk

MODEL = """SVQ(
    image_size=32, in_channels=3, num_slots=4, num_iterations=3, slot_size=16, num_codebooks=4,
    codebook_size=16, code_dim=4, hidden_dim=16, commitment_cost=0.25
)"""
PRIOR_SIZES = "init_prior(embed_dim=16, num_heads=8, num_layers=1, dropout=0.1)"

FILL_IN = {"SVQ(...)": MODEL, "init_prior(...)": PRIOR_SIZES}
SHRINK_DATA = {"num_samples=1000,": "num_samples=20,"}
SHRINK_PRIOR = {"embed_dim=256": "embed_dim=16", "num_layers=4": "num_layers=1"}
SHRINK_TRAINING = {
    "batch_size=32": "batch_size=8",
    "num_workers=4": "num_workers=0",
    "num_samples=10000": "num_samples=48",
    "image_size=64": "image_size=32",  # twice: the data and the model
    "slot_size=64": "slot_size=16",
    "codebook_size=512": "codebook_size=16",
    "code_dim=16": "code_dim=4",
    "hidden_dim=64": "hidden_dim=16",
    "embed_dim=128": "embed_dim=16",
    "num_layers=4": "num_layers=1",
    "range(100)": "range(2)",
}
# The generation snippet loads a model and says neither where the class nor where torch comes from.
IMPORTS = "import torch\nfrom src.models.svq_model import SVQ\n"


def run(snippet: str, replacements: dict[str, str], names: dict[str, Any]) -> dict[str, Any]:
    """Executes `snippet` with the replacements made, among the given names; returns all names."""
    for old, new in replacements.items():
        assert old in snippet, f"{old} is not in the snippet"
        snippet = snippet.replace(old, new)
    assert "..." not in snippet
    exec(compile(snippet, "snippet of the brief", "exec"), names)
    return names


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and pictures that need no screen."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return tmp_path


def write_checkpoint(with_prior: bool) -> None:
    """What `python -m src.train` leaves in checkpoints/, of the sizes filled in above."""
    model = eval(MODEL)
    if with_prior:
        model.init_prior(16, 8, 1, 0.1)
    content = {"format": FORMAT, "version": VERSION, "model_config": model.config, "step": 0, "metrics": {}}
    atomic_save({**content, "model_state_dict": model.state_dict()}, Path("checkpoints/best_model.pth"))


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and path.stat().st_size > 1000


# ---------------------------------------------------------------- one snippet at a time


def test_dataset(workplace: Path) -> None:
    names = run(DATASET, SHRINK_DATA, {})
    assert len(names["dataset"]) == 20
    assert is_picture(workplace / "samples.png")


def test_the_parts_fit_together(workplace: Path) -> None:
    """All four constructors at the sizes of the brief, and an image through them."""
    names: dict[str, Any] = {}
    for snippet in (ENCODER, QUANTIZER, DECODER, PRIOR):
        run(snippet, {}, names)
    found = names["encoder"](torch.rand(2, 3, 64, 64))
    assert found.slots.shape == (2, 4, 64)
    quantized, codes, _ = names["quantizer"](found.slots)
    out = names["decoder"](quantized)
    assert out.recon.shape == (2, 3, 64, 64) and out.masks.shape == (2, 4, 1, 64, 64)
    assert names["prior"](codes).shape == (2, 4, 4, 512)


def test_prior_draws_codes_that_decode(workplace: Path) -> None:
    names = run(PRIOR, SHRINK_PRIOR, run(DECODER, {}, run(QUANTIZER, {}, {})))
    slots = names["quantizer"].embed(names["prior"].sample(2))
    assert names["decoder"](slots).recon.shape == (2, 3, 64, 64)


def test_cuda(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(CUDA, {}, {})
    assert re.fullmatch(r"CUDA available: (True|False)\nCUDA device count: \d+\n", capsys.readouterr().out)


def test_generation(workplace: Path) -> None:
    write_checkpoint(with_prior=True)
    names = run(IMPORTS + GENERATION, FILL_IN, {})
    drawn, model = names["generated_images"], names["model"]
    assert drawn.shape == (8, 3, 32, 32) and drawn.dtype == torch.float32
    assert drawn.min() >= 0 and drawn.max() <= 1
    saved = torch.load("checkpoints/best_model.pth")["model_state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert any(name.startswith("prior.") for name in saved)


def test_training_then_visualisation(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = record_losses(monkeypatch)
    names = run(TRAINING, SHRINK_TRAINING, {})
    assert len(history) == 2 * 6  # epochs × batches
    assert all(math.isfinite(value) for terms in history for value in terms.values())
    assert {"loss", "recon_loss", "commitment_loss", "prior_loss"} <= history[0].keys()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in names["model"].parameters())

    write_checkpoint(with_prior=False)
    run(VISUALISATION, {"SVQ(...)": MODEL}, names)  # goes on with the loaders of the training snippet
    assert is_picture(workplace / "visualization.png")
    names["plt"].close("all")


def test_visualisation_of_a_checkpoint_that_holds_a_prior(workplace: Path) -> None:
    write_checkpoint(with_prior=True)
    names = run(VISUALISATION, {"SVQ(...)": MODEL}, {"SVQ": SVQ, "val_loader": [torch.rand(4, 3, 32, 32)]})
    assert is_picture(workplace / "visualization.png")
    names["plt"].close("all")


def test_all_snippets_in_order(workplace: Path) -> None:
    """One after the other in the same interpreter, as someone reading down the page would run them."""
    write_checkpoint(with_prior=True)
    names: dict[str, Any] = {}
    exec("from src.models.svq_model import SVQ", names)
    pages: list[tuple[str, dict[str, str]]] = [
        (DATASET, SHRINK_DATA),
        (ENCODER, {}),
        (QUANTIZER, {}),
        (DECODER, {}),
        (PRIOR, SHRINK_PRIOR),
        (CUDA, {}),
        (GENERATION, FILL_IN),
        (TRAINING, SHRINK_TRAINING),
        (VISUALISATION, {"SVQ(...)": MODEL}),
    ]
    for snippet, replacements in pages:
        run(snippet, replacements, names)
    assert is_picture(workplace / "samples.png") and is_picture(workplace / "visualization.png")
    names["plt"].close("all")


# ---------------------------------------------------------------- the loop at its own sizes


def record_losses(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """The `loss_dict` of every step that follows."""
    history: list[dict[str, float]] = []
    original = SVQ.compute_loss

    def compute_loss(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, dict[str, float]]:
        loss, terms = original(*args, **kwargs)
        history.append(terms)
        return loss, terms

    monkeypatch.setattr(SVQ, "compute_loss", compute_loss)
    return history


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_the_training_loop_learns_at_its_own_sizes(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """K = 512, batch 32, learning rate 1e-4, a prior trained along, four worker processes: 120 steps of it."""
    history = record_losses(monkeypatch)
    run(TRAINING, {"num_samples=10000": "num_samples=3840", "range(100)": "range(1)"}, {})
    assert len(history) == 120

    def mean(name: str, steps: slice) -> float:
        return statistics.fmean(terms[name] for terms in history[steps])

    start, end = slice(0, 5), slice(-20, None)
    assert history[0]["prior_loss"] == pytest.approx(math.log(512), rel=0.05)  # it starts out knowing nothing
    assert mean("loss", end) < mean("loss", start) - 0.3
    assert mean("prior_loss", end) < mean("prior_loss", start) - 0.3
    assert mean("recon_loss", end) < 0.95 * mean("recon_loss", start)

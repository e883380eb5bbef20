"""Downstream tasks of the paper, from a frozen representation: odd one out, and property comparison.

One head (`sameness_head.py`) learns a task from what the model makes of scenes, and is asked about other scenes of the
same kind, and about values, or combinations, that it has not met; docs/evaluation.md says what is what. Legend: B
scenes, S objects a scene can hold, T tokens, Q examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from ..data.base import SceneDataset
from ..data.odd_one_out import odd_one_out
from ..data.property_comparison import HUE, asked_properties, make_questions
from ..data.sprites import SpritesDataset
from ..utils.progress import progress_bar
from ..utils.randomness import own_randomness
from ..utils.visualization import share_bars
from .intervals import few, mean, share
from .probes import read_classes
from .sameness_head import Embedded, SamenessHead, Standardised
from .subject import Subject
from .tokens import Tokens, represent

ODD_ONE_OUT, PROPERTY_COMPARISON = "odd_one_out", "property_comparison"
FIT_SCENES, TEST_SCENES = 10_000, 2_000  # of the train and of the test split; less where there are fewer
SEEDS = 3  # heads
STEPS, BATCH = 800, 128
LEARNING_RATE, READER_RATE, WARMUP = 3e-3, 5e-2, 0.1  # of the head, of the vectors learned for indices
WEIGHT_DECAY = 1e-2
REPRESENTATIONS = {  # in words
    "vectors": "code vectors",
    "indices": "code indices",
    "continuous": "before quantization",
}
CONTROL = "permuted answers, not met (control)"
CODE_WIDTH = 32  # of the vectors learned for indices
FEWEST = 20  # examples, to fit or to test


@dataclass
class Examples:
    """Q examples of a task about the scenes of some `Tokens`.

    scene (Q,) int64. Of odd one out `options` (Q, S, T) bool, which tokens hold which object, and `answer` (Q,) int64,
    the odd object. Of property comparison `options` (Q, 2, T), which tokens hold which of the marked objects, `asked`
    (Q,) int64 and `answer` (Q,) bool, whether they share it.
    """

    scene: Tensor
    options: Tensor
    answer: Tensor
    asked: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scene)

    def permuted(self, generator: torch.Generator) -> Examples:
        """The same with the answers dealt out anew, so that nothing is to be learned."""
        order = torch.randperm(len(self), generator=generator)
        return Examples(self.scene, self.options, self.answer[order], self.asked)


@dataclass
class Part:
    """Examples and the scenes that they are about."""

    dataset: SceneDataset
    tokens: Tokens
    examples: Examples


def task_of(dataset: SceneDataset) -> str | None:
    """The paper's task for a kind of data: odd one out for 2D Sprites, property comparison for CLEVR-like scenes."""
    if isinstance(dataset, SpritesDataset):
        return ODD_ONE_OUT
    return PROPERTY_COMPARISON if dataset.name == "clevr_like" else None


def downstream_scores(subject: Subject, task: str | None = None) -> dict[str, Any] | None:
    """How well a head solves the task from each of the model's representations, in and out of distribution.

    Args:
        task: "odd_one_out" (2D Sprites only) or "property_comparison" (any data with ground truth, objects of
            different classes and two of them a scene); None: the one of `task_of`.

    Returns:
        task, chance, n_fit, representations and, of odd one out, readout; None, and a note, where there is no task.

    Raises:
        ValueError: an unknown task.
    """
    task = task_of(subject.test_ds) if task is None else task
    if task not in (None, ODD_ONE_OUT, PROPERTY_COMPARISON):
        raise ValueError(f"task={task!r} is unknown; choose one of: {ODD_ONE_OUT}, {PROPERTY_COMPARISON}")
    reason = _lacking(subject, task)
    if reason is not None:
        subject.notes.append(f"downstream: {reason}")
        return None
    with subject.timed("downstream"):
        parts = _odd_parts(subject) if task == ODD_ONE_OUT else _comparison_parts(subject)
        too_few = [f"{len(part.examples)} {name}" for name, part in parts.items() if len(part.examples) < FEWEST]
        if too_few:
            subject.notes.append(
                f"downstream: {', '.join(too_few)} examples of {task}, {FEWEST} are needed; use more scenes"
            )
            return None
        subject.notes.extend(few("downstream", min(len(part.examples) for part in parts.values()), "examples"))
        fit = parts["fit"]
        scores: dict[str, Any] = {
            "task": task,
            "chance": 1 / fit.examples.options.shape[1],
            "n_fit": len(fit.examples),
            "representations": {name: _representation_scores(subject, name, parts) for name in fit.tokens.contents},
        }
        if task == ODD_ONE_OUT:
            scores["readout"] = _readout(subject, parts)
        else:
            scores["properties"] = list(asked_properties(fit.dataset))
    return scores


def downstream_figures(subject: Subject, scores: dict[str, Any] | None) -> dict[str, Figure]:
    """`downstream`: the shares of `downstream_scores`, in and out of distribution; nothing where there is no task."""
    if scores is None:
        return {}
    titles = {"in": "as fitted", "out": "not met before"}
    shares: dict[str, dict[str, tuple[float, float, float] | None]] = {}
    for name, each in scores["representations"].items():
        bars = {title: (each[test]["mean"], each[test]["low"], each[test]["high"]) for test, title in titles.items()}
        control = each["permuted"]["out"]
        shares[REPRESENTATIONS.get(name) or name] = {
            **bars,
            CONTROL: (control["mean"], control["low"], control["high"]),
        }
    if scores.get("readout") is not None:
        read = scores["readout"]
        bars = {title: (read[test]["share"], read[test]["low"], read[test]["high"]) for test, title in titles.items()}
        shares["read by probes"] = {**bars, CONTROL: None}
    title = scores["task"].replace("_", " ").capitalize()
    figure = share_bars(shares, scores["chance"], title=title, label="share of right answers")
    return {"downstream": figure}


def _lacking(subject: Subject, task: str | None) -> str | None:
    """Why there is no task, in a line; None where there is one."""
    dataset = subject.test_ds
    if task is None:
        return f"no task is defined for {dataset.name}"
    if not dataset.has_ground_truth:
        return f"{dataset.name} does not say which objects it shows and where"
    if task == ODD_ONE_OUT:
        return None if isinstance(dataset, SpritesDataset) else f"{dataset.name} has no odd one out; only sprites have"
    properties = [asked_properties(each) for each in (subject.train_ds, dataset)]
    if any("shape" not in each or not {HUE, "colour"} & set(each) for each in properties):
        return f"shape and colour do not both vary in {dataset.name}, so nothing can be held out"
    if list(properties[0]) != list(properties[1]):
        return f"{' and '.join(map(', '.join, properties))} vary in the splits of {dataset.name}; use more scenes"
    if int(dataset.factors["present"].sum(dim=1).max()) < 2:
        return f"no scene of {dataset.name} has two objects to compare"
    return None


def _odd_parts(subject: Subject) -> dict[str, Part]:
    """Scenes of the values to be fitted to (`fit`, `in`), and of all others (`out`)."""
    source = subject.test_ds
    assert isinstance(source, SpritesDataset)
    sets = {
        "fit": source.of_subset("in", "train", FIT_SCENES),
        "in": source.of_subset("in", "test", TEST_SCENES),
        "out": source.of_subset("out", "test", TEST_SCENES),
    }
    parts = {}
    for (name, dataset), tokens in zip(sets.items(), _represented(subject, list(sets.values())), strict=True):
        factors = dataset.factors
        odd = odd_one_out(factors["shape"], factors["colour"], factors["present"])
        parts[name] = Part(dataset, tokens, Examples(torch.arange(len(dataset)), tokens.holders, odd))
    return parts


def _comparison_parts(subject: Subject) -> dict[str, Part]:
    """Questions of the train split without held-out combinations, and of the test split without (`in`) and with them
    (`out`)."""
    sets = [subject.train_ds.first(FIT_SCENES), subject.test_ds]
    fit, test = _represented(subject, sets)
    parts = {}
    for name, dataset, tokens in (("fit", sets[0], fit), ("in", sets[1], test), ("out", sets[1], test)):
        asked = make_questions(dataset, held_out=name == "out", seed=subject.seed)
        marked = torch.stack([tokens.holders[asked.scene, asked.first], tokens.holders[asked.scene, asked.second]], 1)
        parts[name] = Part(dataset, tokens, Examples(asked.scene, marked, asked.same, asked.asked))
    return parts


def _represented(subject: Subject, datasets: list[SceneDataset]) -> list[Tokens]:
    total = sum(map(len, datasets))
    with progress_bar("downstream scenes", total, unit="scene", enabled=subject.progress) as bar:
        return [
            represent(subject.model, dataset, subject.computing, subject.batch_size, bar.update) for dataset in datasets
        ]


# ---------------------------------------------------------------------- heads


def _representation_scores(subject: Subject, name: str, parts: dict[str, Part]) -> dict[str, Any]:
    """Heads of several seeds, and one that learned from permuted answers."""
    size = subject.model.codebook_size
    settings: dict[str, Any] = {"device": subject.device, "progress": subject.progress}
    right: dict[str, list[Tensor]] = {"in": [], "out": []}
    for number in range(SEEDS):
        head = fit_head(parts["fit"], name, size, subject.seed + number, **settings)
        for test, found in right.items():
            found.append(answers_right(head, name, parts[test])[0])
    control = fit_head(parts["fit"], name, size, subject.seed, permuted=True, **settings)
    return {
        **{test: mean(torch.stack(found).double().mean(dim=0).numpy(), subject.seed) for test, found in right.items()},
        "seeds": {test: [share(hits) for hits in found] for test, found in right.items()},
        "permuted": {test: mean(answers_right(control, name, parts[test])[1].numpy(), subject.seed) for test in right},
    }


def fit_head(
    part: Part,
    name: str,
    codebook_size: int,
    seed: int = 0,
    permuted: bool = False,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> SamenessHead:
    """A head for the contents `name`, fitted to `part`; in eval mode. Nothing is chosen: it trains so many steps.

    Args:
        codebook_size: K, of indices.
        seed: of weights, batches, and of the permutation.
        permuted: deal the answers out anew before.
    """
    examples, contents = part.examples, part.tokens.contents[name]
    if permuted:
        examples = examples.permuted(torch.Generator().manual_seed(seed))
    with own_randomness(seed, torch.device(device)):
        if contents.is_floating_point():
            reader = Standardised(contents)
        else:
            reader = Embedded(contents.shape[-1], codebook_size, CODE_WIDTH)
        questions = 1 if examples.asked is None else int(examples.asked.max()) + 1
        head = SamenessHead(reader, contents.shape[1], questions, part.tokens.placed).to(device).train()
        groups = [{"params": list(reader.parameters())}, {"params": list(head.without_contents())}]
        optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, [READER_RATE, LEARNING_RATE], total_steps=STEPS, pct_start=WARMUP, cycle_momentum=False
        )
        with progress_bar(f"{name}, head {seed}", STEPS, enabled=progress) as bar:
            for _ in range(STEPS):
                loss = _loss(head, contents, examples, torch.randint(len(examples), (BATCH,)))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                bar.update()
    return head.eval()


def _scores(head: SamenessHead, contents: Tensor, examples: Examples, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The head's scores of the tokens (R, T) and, of a comparison, their mean over the marked ones (R,)."""
    device = head.mark.device
    tokens = contents[examples.scene[rows]].to(device)
    if examples.asked is None:
        scores = head(tokens)
        return scores, scores.mean(dim=1)
    marked = examples.options[rows].any(dim=1).to(device)
    scores = head(tokens, marked, examples.asked[rows].to(device))
    return scores, (scores * marked).sum(dim=1) / marked.sum(dim=1).clamp(min=1)


def _loss(head: SamenessHead, contents: Tensor, examples: Examples, rows: Tensor) -> Tensor:
    """Cross-entropy of the right answers, in nats."""
    scores, verdict = _scores(head, contents, examples, rows)
    answer = examples.answer[rows]
    if examples.asked is not None:
        return F.binary_cross_entropy_with_logits(verdict, answer.to(verdict))
    right = examples.options[rows, answer].to(scores.device)  # (R, T)
    known = right.any(dim=1)  # some token holds the odd object
    wanted = scores.masked_fill(~right, -torch.inf)[known].logsumexp(dim=1)
    return (scores[known].logsumexp(dim=1) - wanted).sum() / known.sum().clamp(min=1)


@torch.inference_mode()
def answers_right(head: SamenessHead, name: str, part: Part) -> tuple[Tensor, Tensor]:
    """Which of the examples of `part` the head answers rightly, (Q,) bool, and the probability that it gives to the
    right answer (Q,)."""
    examples, contents = part.examples, part.tokens.contents[name]
    right, sure = [], []
    for rows in torch.arange(len(examples)).split(500):
        scores, verdict = (each.cpu() for each in _scores(head, contents, examples, rows))
        answer = examples.answer[rows]
        if examples.asked is not None:
            right.append((verdict > 0) == answer)
            sure.append(torch.where(answer, verdict, -verdict).sigmoid())
        else:
            wanted = examples.options[rows, answer]
            right.append(wanted.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0])
            sure.append((scores.softmax(dim=1) * wanted).sum(dim=1))
    return torch.cat(right), torch.cat(sure)


def _readout(subject: Subject, parts: dict[str, Part]) -> dict[str, Any] | None:
    """The share of scenes whose odd object follows from the shapes and colours that probes, which know all values,
    read from the slots; None without slots."""
    if not subject.has_objects or len(subject.fit.vectors) < 2:
        subject.notes.append("downstream: no objects with vectors of their own to read shapes and colours from")
        return None
    found: dict[str, Any] = {}
    for test in ("in", "out"):
        part = parts[test]
        name = "vectors" if "vectors" in part.tokens.contents else "continuous"
        holders, factors = part.tokens.holders, part.dataset.factors
        scene, k = torch.nonzero(holders.any(dim=2), as_tuple=True)
        vectors = part.tokens.contents[name][scene, holders[scene, k].int().argmax(dim=1)].numpy()
        read = {}
        for factor in ("shape", "colour"):
            labels = subject.fit.factors[factor]
            values = torch.full_like(factors[factor], -1)
            values[scene, k] = torch.from_numpy(
                read_classes(subject.fit.vectors, labels, np.ascontiguousarray(vectors), subject.seed)
            )
            read[factor] = values
            found.setdefault(factor, {})[test] = share(values[scene, k] == factors[factor][scene, k])
        odd = odd_one_out(read["shape"], read["colour"], holders.any(dim=2))
        found[test] = share(odd == part.examples.answer)
    return found

"""The prior: a proper distribution, causal, and sampled as it was trained."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from src.models.transformer import SelfAttention
from src.models.transformer_decoder import AutoregressiveTransformer

SLOTS, BLOCKS, CODES = 3, 2, 5
LENGTH = SLOTS * BLOCKS


def make_prior(dropout: float = 0.1, **changes: object) -> AutoregressiveTransformer:
    sizes: dict = {
        "num_slots": SLOTS,
        "num_codebooks": BLOCKS,
        "codebook_size": CODES,
        "embed_dim": 16,
        "num_heads": 4,
        "num_layers": 2,
    }
    prior = AutoregressiveTransformer(**{**sizes, **changes}, dropout=dropout)
    with torch.no_grad():  # large enough weights for predictions far from uniform
        for name in ("code_embedding", "position_embedding", "begin", "head"):
            prior.get_parameter(name).normal_(std=0.5)
    return prior.eval()


def random_codes(batch: int = 4, slots: int = SLOTS, blocks: int = BLOCKS, codes: int = CODES) -> Tensor:
    return torch.randint(codes, (batch, slots, blocks))


# ---------------------------------------------------------------- distribution


def test_logits_are_over_the_own_codebook() -> None:
    prior = make_prior()
    logits = prior(random_codes())
    assert logits.shape == (4, SLOTS, BLOCKS, CODES) and logits.dtype == torch.float32
    nll = prior.nll(random_codes())
    assert nll.shape == (4, SLOTS, BLOCKS) and (nll > 0).all()


def test_a_position_uses_the_embedding_and_the_output_layer_of_its_own_block() -> None:
    prior, codes = make_prior(), random_codes()
    logits = prior(codes)
    with torch.no_grad():
        prior.head[1].zero_()
    without = prior(codes)
    assert torch.equal(without[:, :, 0], logits[:, :, 0])
    assert torch.equal(without[:, :, 1], torch.zeros_like(without[:, :, 1]))
    same = torch.full((1, SLOTS, BLOCKS), 3)
    expected = prior(same)
    with torch.no_grad():
        prior.code_embedding[1, 3] += torch.randn(16)  # code 3 of block 1 is read after every slot but the last
    changed = (prior(same) - expected)[0, :, 0].abs().amax(-1) > 1e-6
    assert changed.tolist() == [False] + [True] * (SLOTS - 1)


def test_probabilities_of_all_scenes_sum_to_one() -> None:
    prior = make_prior(num_slots=1, num_codebooks=2, codebook_size=3)
    scenes = torch.tensor(list(itertools.product(range(3), repeat=2))).view(-1, 1, 2)
    probabilities = (-prior.nll(scenes).sum((1, 2))).exp()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    assert probabilities.std() > 0.01  # and it is not merely uniform


def test_samples_follow_the_distribution() -> None:
    prior = make_prior(num_slots=1, num_codebooks=2, codebook_size=3)
    scenes = torch.tensor(list(itertools.product(range(3), repeat=2))).view(-1, 1, 2)
    probabilities = (-prior.nll(scenes).sum((1, 2))).exp()
    count = 20_000
    drawn = prior.sample(count, generator=torch.Generator().manual_seed(0))
    shares = (drawn[:, 0] @ torch.tensor([3, 1])).bincount(minlength=9) / count
    deviation = (probabilities * (1 - probabilities) / count).sqrt()
    assert ((shares - probabilities).abs() < 5 * deviation).all()


def test_nll_is_minus_the_log_probability_of_the_code() -> None:
    prior, codes = make_prior(), random_codes()
    expected = -prior(codes).log_softmax(-1).gather(-1, codes.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(prior.nll(codes), expected)


def test_the_prior_can_learn_a_rule() -> None:
    """Two codes that repeat the first of the slot before: the first slot is free, everything else follows."""
    prior = make_prior(dropout=0.0).train()
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.01)
    first = torch.randint(CODES, (64,))
    codes = (first.view(-1, 1, 1) + torch.arange(SLOTS).view(1, -1, 1)).expand(-1, -1, BLOCKS) % CODES
    for _ in range(80):
        loss = prior.nll(codes).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    nll = prior.eval().nll(codes).mean(0).flatten()
    assert nll[1:].max() < 0.1
    shares = first.bincount(minlength=CODES) / len(first)
    assert nll[0].item() == pytest.approx(-(shares * shares.log()).sum().item(), abs=0.1)  # the entropy
    drawn = prior.sample(50, temperature=0.5, generator=torch.Generator().manual_seed(0))
    assert torch.equal((drawn[:, :1, :1] + torch.arange(SLOTS).view(1, -1, 1)).expand(-1, -1, BLOCKS) % CODES, drawn)


# ---------------------------------------------------------------- causality


@pytest.mark.parametrize("relations", [False, True])
@pytest.mark.parametrize("position", range(LENGTH))
def test_a_code_changes_later_predictions_only(position: int, relations: bool) -> None:
    prior, codes = make_prior(relations=relations), random_codes()
    changed = codes.clone()
    slot, block = divmod(position, BLOCKS)
    changed[:, slot, block] = (codes[:, slot, block] + 1) % CODES
    before, after = prior(codes).flatten(1, 2), prior(changed).flatten(1, 2)
    assert torch.equal(before[:, : position + 1], after[:, : position + 1])
    later = (before - after)[:, position + 1 :].abs().amax(-1)
    assert (later > 1e-6).all()


def test_gradients_come_from_the_past_only() -> None:
    prior = make_prior()
    position = 3
    prior(random_codes(1)).flatten(1, 2)[0, position].square().sum().backward()
    reached = prior.position_embedding.grad.abs().amax(-1) > 0
    assert reached.tolist() == [True] * (position + 1) + [False] * (LENGTH - position - 1)


# ---------------------------------------------------------------- relations


def test_relations_are_added_to_what_is_read_and_to_what_is_predicted() -> None:
    prior, codes = make_prior(relations=True), random_codes()
    read = []
    prior.layers[0].register_forward_pre_hook(lambda _, args: read.append(args[0]))
    states = []
    prior.norm.register_forward_hook(lambda _, args, out: states.append(out))
    logits = prior(codes)
    assert prior.relations is not None
    embedded = prior.code_embedding[torch.arange(BLOCKS), codes]
    likeness = prior.relations.likeness(prior.code_embedding, embedded.flatten(0, 1).transpose(0, 1))
    likeness = likeness.unflatten(1, codes.shape[:2])
    added = prior.relations.read(likeness, codes).flatten(1, 2)
    assert added.abs().amax() > 0.1
    known = torch.cat([prior.begin.expand(len(codes), 1, -1), (embedded.flatten(1, 2) + added)[:, :-1]], dim=1)
    torch.testing.assert_close(read[0], known + prior.position_embedding)
    of_blocks = states[0].unflatten(1, (SLOTS, BLOCKS)).flatten(0, 1).transpose(0, 1)
    pointed = prior.relations.point(of_blocks, likeness).unflatten(1, codes.shape[:2])  # (M, B, N, K)
    assert pointed.abs().amax() > 1e-3
    torch.testing.assert_close(
        logits, (of_blocks @ prior.head).unflatten(1, codes.shape[:2]).movedim(0, 2) + pointed.movedim(0, 2)
    )


def test_a_rule_over_who_is_like_whom_is_learned_with_relations() -> None:
    """Of three slots two share the first code; the second code says which is the other one."""
    generator = torch.Generator().manual_seed(0)

    def scenes(count: int) -> Tensor:
        other = torch.randint(SLOTS, (count,), generator=generator)
        common = torch.randint(CODES, (count,), generator=generator)
        different = (common + 1 + torch.randint(CODES - 1, (count,), generator=generator)) % CODES
        first = torch.where(torch.arange(SLOTS) == other[:, None], different[:, None], common[:, None])
        second = torch.zeros_like(first)
        second[:, -1] = other
        return torch.stack([first, second], dim=2)

    left = {}
    for relations in (False, True):
        torch.manual_seed(0)
        prior = make_prior(dropout=0.0, relations=relations).train()
        optimizer = torch.optim.Adam(prior.parameters(), lr=0.01)
        for _ in range(60):
            loss = prior.nll(scenes(64)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            left[relations] = prior.eval().nll(scenes(500))[:, -1, -1].mean().item()
    assert left[True] < 0.2 < left[False]


# ---------------------------------------------------------------- sampling


@torch.no_grad()
def sample_without_cache(
    prior: AutoregressiveTransformer,
    batch_size: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The same draws, from a full forward pass over the whole scene for each position."""
    shape = (batch_size, prior.num_slots, prior.num_codebooks)
    codes = torch.zeros(shape, dtype=torch.int64)
    for slot, block in itertools.product(range(prior.num_slots), range(prior.num_codebooks)):
        logits = prior(codes)[:, slot, block] / temperature
        if top_k is not None:
            others = logits.argsort(dim=-1, descending=True)[:, top_k:]
            logits = logits.scatter(1, others, -torch.inf)
        codes[:, slot, block] = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
    return codes


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [None, 1, 3, CODES, 99])
def test_cached_sampling_equals_recomputing_everything(temperature: float, top_k: int | None) -> None:
    prior = make_prior()
    cached = prior.sample(64, temperature, top_k, torch.Generator().manual_seed(7))
    uncached = sample_without_cache(prior, 64, temperature, top_k, torch.Generator().manual_seed(7))
    assert torch.equal(cached, uncached)
    assert cached.shape == (64, SLOTS, BLOCKS) and cached.dtype == torch.int64
    assert cached.min() >= 0 and cached.max() < CODES


def test_cached_sampling_equals_recomputing_at_another_shape() -> None:
    prior = make_prior(num_slots=4, num_codebooks=3, codebook_size=7, num_layers=3)
    cached = prior.sample(16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(cached, sample_without_cache(prior, 16, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("changes", [{"style": "paper"}, {"relations": True}, {"style": "paper", "relations": True}])
@pytest.mark.parametrize("top_k", [None, 3])
def test_cached_sampling_equals_recomputing_in_other_forms(top_k: int | None, changes: dict) -> None:
    prior = make_prior(**changes)
    cached = prior.sample(64, 1.3, top_k, torch.Generator().manual_seed(7))
    assert torch.equal(cached, sample_without_cache(prior, 64, 1.3, top_k, torch.Generator().manual_seed(7)))


def test_every_code_of_the_own_codebook_can_be_drawn_and_no_other() -> None:
    drawn = make_prior().sample(500, temperature=3.0, generator=torch.Generator().manual_seed(0))
    for slot, block in itertools.product(range(SLOTS), range(BLOCKS)):
        assert drawn[:, slot, block].unique().tolist() == list(range(CODES))


def greedy(prior: AutoregressiveTransformer) -> Tensor:
    codes = torch.zeros(1, SLOTS, BLOCKS, dtype=torch.int64)
    for slot, block in itertools.product(range(SLOTS), range(BLOCKS)):
        codes[:, slot, block] = prior(codes)[:, slot, block].argmax(-1)
    return codes


@pytest.mark.parametrize(
    "settings", [{"top_k": 1}, {"top_k": 1, "temperature": 5.0}, {"temperature": 1e-4}, {"temperature": 1e-45}]
)
def test_top_1_and_low_temperature_draw_the_likeliest_code(settings: dict) -> None:
    prior = make_prior()
    drawn = prior.sample(20, **settings)
    assert torch.equal(drawn, greedy(prior).expand(20, -1, -1))


def test_top_k_never_leaves_the_k_likeliest() -> None:
    prior = make_prior()
    drawn = prior.sample(300, temperature=4.0, top_k=2, generator=torch.Generator().manual_seed(0))
    ranks = prior(drawn).argsort(dim=-1, descending=True).argsort(dim=-1).gather(-1, drawn.unsqueeze(-1))
    assert set(ranks.unique().tolist()) == {0, 1}


def test_the_generator_decides() -> None:
    prior = make_prior()
    first = prior.sample(30, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(prior.sample(30, generator=torch.Generator().manual_seed(1)), first)
    assert torch.equal(torch.get_rng_state(), state)  # the global stream is left alone
    assert not torch.equal(prior.sample(30, generator=torch.Generator().manual_seed(2)), first)


@pytest.mark.parametrize("training", [True, False])
def test_sampling_drops_nothing_out_and_restores_the_mode(training: bool) -> None:
    prior = make_prior(dropout=0.9).train(training)
    drawn = prior.sample(20, top_k=1)
    assert all(module.training is training for module in prior.modules())
    assert torch.equal(drawn, greedy(prior.eval()).expand(20, -1, -1))
    assert not drawn.requires_grad


def test_the_mode_is_restored_when_sampling_fails() -> None:
    prior = make_prior().train()
    with pytest.raises(TypeError):
        prior.sample(2, generator="not one")
    assert all(module.training for module in prior.modules())


def test_dropout_acts_in_training() -> None:
    prior, codes = make_prior(dropout=0.5).train(), random_codes()
    assert not torch.equal(prior(codes), prior(codes))
    assert torch.equal(prior.eval()(codes), prior(codes))


def test_sampling_under_autocast() -> None:
    prior = make_prior()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = prior(random_codes())
        drawn = prior.sample(20, generator=torch.Generator().manual_seed(0))
    assert logits.dtype == torch.float32
    assert drawn.min() >= 0 and drawn.max() < CODES


# ---------------------------------------------------------------- the start


def test_codes_that_are_alike_start_alike() -> None:
    prior = AutoregressiveTransformer(2, 3, 40, embed_dim=64, num_heads=2, num_layers=1)
    codebook = torch.randn(3, 40, 8) * torch.tensor([0.01, 1.0, 100.0]).view(3, 1, 1) + 5
    prior.start_from(codebook)
    for weight, scale in ((prior.code_embedding, 0.5), (prior.head.mT, 0.02)):
        torch.testing.assert_close(weight.std(dim=(1, 2)), torch.full((3,), scale), rtol=0.2, atol=0)
        for block in range(3):
            apart = torch.stack([torch.pdist(codebook[block]), torch.pdist(weight[block].detach())])
            assert torch.corrcoef(apart)[0, 1] > 0.9  # random projections keep distances


def test_the_form_of_the_paper_starts_as_its_code_does() -> None:
    width = 64
    prior = AutoregressiveTransformer(4, 3, 50, embed_dim=width, num_heads=2, num_layers=1, style="paper")
    uniform = 3**-0.5  # the standard deviation, relative to the bound
    attention = prior.layers[0].attention
    assert isinstance(attention, SelfAttention)
    for weight, bound in (
        (prior.head, width**-0.5),
        (prior.begin, (3 / width) ** 0.5),
        (attention.to_query_key_value.weight, (6 / (4 * width)) ** 0.5),
    ):
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(uniform * bound, rel=0.2)
    assert prior.code_embedding.std().item() == pytest.approx(1, rel=0.05)
    assert prior.position_embedding.abs().max() <= 2
    assert not attention.to_query_key_value.bias.any() and not attention.project.bias.any()
    scale = prior.code_embedding.std().item(), prior.head.std().item()
    prior.start_from(torch.randn(3, 50, 8))
    assert (prior.code_embedding.std().item(), prior.head.std().item()) == pytest.approx(scale, rel=0.2)


def test_codebooks_whose_codes_are_all_the_same_are_a_start_as_well() -> None:
    prior = AutoregressiveTransformer(2, 3, 4, embed_dim=8, num_heads=2, num_layers=1)
    prior.start_from(torch.ones(3, 4, 5))
    assert all(parameter.isfinite().all() for parameter in prior.parameters())


# ---------------------------------------------------------------- errors


def test_wrong_codes() -> None:
    prior = make_prior()
    for act in (prior, prior.nll):
        with pytest.raises(ValueError, match=r"codes had shape \(4, 2, 3\) but expected \(B, 3, 2\)"):
            act(random_codes().mT)
        with pytest.raises(ValueError, match=r"codes must lie in \[0, 5\), got \[0, 5\]"):
            act(torch.tensor([[[0, 5], [0, 0], [0, 0]]]))
        with pytest.raises(TypeError, match="codes must be an int64 tensor, got torch.float32"):
            act(random_codes().float())
        with pytest.raises(TypeError, match="codes must be an int64 tensor, got torch.int32"):
            act(random_codes().int())
        with pytest.raises(TypeError, match="codes must be an int64 tensor, got list"):
            act(random_codes().tolist())


def test_wrong_sampling_settings() -> None:
    prior = make_prior()
    for temperature in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"temperature must be greater than 0, got {temperature}"):
            prior.sample(2, temperature=temperature)
    for top_k in (0, -2, 1.5):
        with pytest.raises(ValueError, match=f"top_k must be an integer of at least 1, got {top_k}"):
            prior.sample(2, top_k=top_k)
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        prior.sample(0)


@pytest.mark.parametrize(
    "name", ["num_slots", "num_codebooks", "codebook_size", "embed_dim", "num_heads", "num_layers"]
)
def test_sizes_must_be_positive_integers(name: str) -> None:
    for value in (0, -1, 2.5):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got {value}"):
            make_prior(**{name: value})


def test_other_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="embed_dim=18.*num_heads=4.*embed_dim=16 or 20.*num_heads from"):
        make_prior(embed_dim=18)
    with pytest.raises(ValueError, match="unknown style 'gpt': choose one of default, paper"):
        make_prior(style="gpt")
    for dropout in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=rf"dropout must lie in \[0, 1\), got {dropout}"):
            make_prior(dropout=dropout)

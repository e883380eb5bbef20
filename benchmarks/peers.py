"""Published packages in the state of our modules, so that both do the same work: for tests and measurements.

They come with `requirements-dev.txt`: `vector-quantize-pytorch` and `slot-attention`.
"""

from __future__ import annotations

import torch
from slot_attention import SlotAttention as PeerSlotAttention
from vector_quantize_pytorch import VectorQuantize

from src.models.slot_attention import SlotAttention
from src.models.vector_quantizer import SemanticVectorQuantizer


def peer_quantizer(quantizer: SemanticVectorQuantizer) -> VectorQuantize:
    """The package's quantizer with one codebook a head, in the same state; it revives no code."""
    peer = VectorQuantize(
        dim=quantizer.slot_dim,
        codebook_size=quantizer.codebook_size,
        codebook_dim=quantizer.code_dim,
        heads=quantizer.num_codebooks,
        separate_codebook_per_head=True,
        decay=quantizer.decay,
        eps=1e-5,
        commitment_weight=1.0,
        rotation_trick=False,
        threshold_ema_dead_code=0,
    )
    peer._codebook.embed.copy_(quantizer.codebook)
    peer._codebook.cluster_size.copy_(quantizer.ema_count)
    peer._codebook.embed_avg.copy_(quantizer.ema_sum)
    return peer


def peer_slot_attention(attention: SlotAttention) -> PeerSlotAttention:
    """The package's module with the same weights; its additional biases are zero.

    `attention` must be the published one: one block, inputs as wide as slots, no salience, no inhibition.
    """
    width, (_, _, hidden) = attention.slot_dim, attention.mlp.hidden.weight.shape
    peer = PeerSlotAttention(
        num_slots=attention.num_slots, dim=width, iters=attention.num_iterations, eps=1e-8, hidden_dim=hidden
    )
    weights = {
        "norm_input.weight": attention.norm_inputs.weight,
        "norm_input.bias": attention.norm_inputs.bias,
        "norm_slots.weight": attention.norm_slots.weight,
        "norm_slots.bias": attention.norm_slots.bias,
        "norm_pre_ff.weight": torch.ones(width),
        "norm_pre_ff.bias": torch.zeros(width),
        "to_q.weight": attention.to_query.weight,
        "to_k.weight": attention.to_key.weight,
        "to_v.weight": attention.to_value.weight,
        **{f"to_{role}.bias": torch.zeros(width) for role in "qkv"},
        "slots_mu": attention.initial_mean[None, None],
        "slots_logsigma": attention.initial_log_std[None, None],
        "gru.weight_ih": attention.gru.from_input.weight[0].T,
        "gru.weight_hh": attention.gru.from_state.weight[0].T,
        "gru.bias_ih": attention.gru.from_input.bias[0],
        "gru.bias_hh": attention.gru.from_state.bias[0],
        "mlp.0.weight": attention.mlp.hidden.weight[0].T,
        "mlp.0.bias": attention.mlp.hidden.bias[0],
        "mlp.2.weight": attention.mlp.out.weight[0].T,
        "mlp.2.bias": attention.mlp.out.bias[0],
    }
    peer.load_state_dict({name: tensor.detach().clone() for name, tensor in weights.items()})
    return peer

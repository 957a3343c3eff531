"""Full and Block AttnRes against the PyPI package attn-res, sublayer input by sublayer input.

Where attn-res deviates, the comparison steps round it:

- It ends in a plain sum of all sources instead of an aggregation: inputs alone are compared.
- Its key norm has no gain: our gain times our query is its query.
- Its first sublayer has a query too, over one source: it has no effect and stays zero.
- Sublayers that its block count does not divide open a further block: only equal blocks here.
"""

import pytest
import torch
from test_attnres import build
from torch import Tensor

attn_res = pytest.importorskip("attn_res", reason="the development-only oracle is not installed")

N_LAYERS, D, VOCABULARY = 4, 8, 11


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("full_attnres", "FULL", {}),
        ("block_attnres", "BLOCK", {"num_blocks": 2}),
        ("block_attnres", "BLOCK", {"num_blocks": 4, "two_phase": True}),
        ("block_attnres", "BLOCK", {"num_blocks": 8}),
    ],
)
def test_inputs_and_their_gradients(name: str, mode: str, options: dict[str, int]) -> None:
    torch.manual_seed(0)
    config = attn_res.TransformerConfig(
        d_model=D,
        n_layers=2 * N_LAYERS,
        n_heads=2,
        n_kv_heads=2,
        vocab_size=VOCABULARY,
        max_seq_len=8,
        attn_res_mode=attn_res.AttnResMode[mode],
        n_blocks=options.get("num_blocks", 1),
    )
    theirs = attn_res.AttnResTransformer(config)
    ours = build(N_LAYERS, name, **options)
    with torch.no_grad():
        for layer in theirs.layers:
            for weight in layer.fn.parameters():
                weight.normal_(std=0.5)
        query, gain = ours.get_parameter("query"), ours.get_parameter("gain")
        for layer, folded in zip(list(theirs.layers)[1:], query * gain, strict=False):
            layer.attn_res.pseudo_query.copy_(folded)
    read: list[Tensor] = []
    for layer in theirs.layers:
        layer.attn_res.register_forward_hook(lambda module, inputs, output: read.append(output))
    ids = torch.randint(0, VOCABULARY, (2, 5))
    embedding = theirs.token_emb(ids).detach().requires_grad_()
    theirs.token_emb.register_forward_hook(lambda module, inputs, output: embedding)
    theirs(ids)

    own = embedding.detach().clone().requires_grad_()
    mask, state, reads = theirs._build_causal_mask(5, own.device), ours.start(own), []
    for index, layer in enumerate(theirs.layers):
        state, h = ours.read(state, index)
        assert isinstance(h, Tensor)
        reads.append(h)
        inputs = (layer.norm(h), theirs.rope_freqs[:5], mask)[: 3 if layer.is_attention else 1]
        state = ours.write(state, index, layer.fn(*inputs))

    assert len(reads) == len(read) == 2 * N_LAYERS
    for one, other in zip(reads, read, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    gradients = [
        torch.autograd.grad(sum(h.sin().sum() for h in inputs), start)[0]
        for inputs, start in ((reads, own), (read, embedding))
    ]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)

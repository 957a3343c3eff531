"""What each residual keeps for the backward pass, beyond PreNorm, in closed form. Torch-free.

PreNorm's share is the decoder's own: each sublayer keeps what it reads. A residual keeps more
(streams, sources, scores), or less (no norm of its own). Counts are elements a token, summed over
all sublayers, of this project's two ways to compute: the compiled kernels of processors, and plain
torch, which is what runs on CUDA and under ATTNRES_EVAL_KERNELS=0. They were derived from the code
under `attnres_eval.model` and are held to torch's own count of live bytes by tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial
from typing import Any

from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options, get_variant
from attnres_eval.variants.attnres import block_sources, capped, full_sources
from attnres_eval.variants.muddformer import aggregations

FP32, BF16 = 4, 2
"""Bytes of an element."""


@dataclass(frozen=True)
class Kept:
    """Elements a token."""

    wide: float = 0.0
    """Kept in fp32, whatever the precision of products."""
    narrow: float = 0.0
    """Kept in the precision of products."""
    copies: float = 0.0
    """Kept in fp32 beside a narrow original; under fp32 the original does."""

    def bytes(self, element: int) -> float:
        """Bytes a token, given those of an element in the precision of products."""
        copies = self.copies if element < FP32 else 0.0
        return FP32 * (self.wide + copies) + element * self.narrow


@dataclass(frozen=True)
class Share:
    """One residual's share under one way to compute."""

    kept: Kept = Kept()
    """By the end of the forward pass, without activation checkpointing."""
    finish: Kept = Kept()
    """The part of it that what the final norm reads is made of: checkpointing leaves it."""
    gradients: Kept = Kept()
    """Gradients that live while one transformer block's backward pass runs: those of sources,
    which have readers in several blocks, or of streams."""


@dataclass(frozen=True)
class ResidualKept:
    """One residual's share of what the backward pass needs."""

    kernels: Share = Share()
    """Where the kernels compute."""
    plain: Share = Share()
    """In plain torch."""
    boundary: Kept = Kept()
    """What crosses from one transformer block to the next, over all of them: with activation
    checkpointing this is kept in the place of the rest."""


Rule = Callable[[ModelShape, Any], ResidualKept]


def _both(kept: Kept, boundary: Kept = Kept()) -> ResidualKept:
    return ResidualKept(Share(kept), Share(kept), boundary)


def _postnorm(shape: ModelShape, options: Any) -> ResidualKept:
    """The sum and its normalised value; plain torch has these norms in the place of sublayers'."""
    d = shape.d_model
    return ResidualKept(Share(Kept(wide=2 * d * shape.n_sublayers)), Share(Kept(wide=-2 * d)))


def _layerscale(shape: ModelShape, options: Any) -> ResidualKept:
    """Each output, for the gradient of its scale."""
    return _both(Kept(narrow=shape.d_model * shape.n_sublayers))


def _rezero(shape: ModelShape, options: Any) -> ResidualKept:
    """Each output; without sublayer norms two fp32 vectors of plain torch's norm go."""
    vectors = shape.d_model * shape.n_sublayers
    plain = Kept(wide=0 if options.pre_norm else -2 * vectors, narrow=vectors)
    return ResidualKept(Share(Kept(narrow=vectors)), Share(plain))


def _highway(shape: ModelShape, options: Any) -> ResidualKept:
    """The output, the difference that each gate multiplies, the gate and its logit."""
    vectors = shape.d_model * shape.n_sublayers
    gates = shape.n_sublayers * options.gate_width(shape.d_model)
    return _both(Kept(wide=vectors + 2 * gates, narrow=vectors))


def _siamesenorm(shape: ModelShape, options: Any) -> ResidualKept:
    """Both streams and two norms of each."""
    d = shape.d_model
    return _both(
        Kept(wide=(4 * shape.n_sublayers + 3) * d), boundary=Kept(wide=(shape.n_layers + 3) * d)
    )


def _x0_lambdas(shape: ModelShape, options: Any) -> ResidualKept:
    """The stream before each block's mix, and the normalised embedding."""
    d = shape.d_model
    return _both(Kept(wide=(shape.n_layers + 1) * d), boundary=Kept(wide=d))


def _streams(
    shape: ModelShape, streams: int, plain_weights: float, finish: int = 0
) -> ResidualKept:
    """Streams and the output a sublayer; plain torch keeps the mixed streams and the read too.

    Args:
        shape: the decoder.
        streams: n.
        plain_weights: elements that plain torch keeps of each sublayer's weights.
        finish: vectors that the read-out keeps.
    """
    n, d, sublayers = streams, shape.d_model, shape.n_sublayers
    last = Kept(wide=finish * d)
    kernels = sublayers * (n * d + 2 * n * (n + 2)) + finish * d
    plain = sublayers * ((2 * n + 1) * d + plain_weights) + finish * d
    return ResidualKept(
        Share(Kept(kernels, sublayers * d), last, gradients=Kept(wide=2 * n * d)),
        Share(Kept(plain, sublayers * d), last, gradients=Kept(wide=n * d)),
        # The first block's streams are the embedding, spread without a copy.
        boundary=Kept(wide=(n - 1) * (shape.n_layers - 1) * d),
    )


def _hyper_connections(shape: ModelShape, options: Any) -> ResidualKept:
    return _streams(shape, options.streams, options.streams * (options.streams + 2))


def _mhc(shape: ModelShape, options: Any) -> ResidualKept:
    """Plain torch keeps both divisions of every iteration of Sinkhorn's."""
    n = options.streams
    sinkhorn = options.sinkhorn_iterations * 2 * n * (n + 1)
    finish = n if options.read_out == "head" else 0
    return _streams(shape, n, sinkhorn + n * (n + 2), finish)


def _mhc_lite(shape: ModelShape, options: Any) -> ResidualKept:
    n = options.streams
    return _streams(shape, n, n * (n + 2) + 2 * factorial(n))


def _gated_residual(shape: ModelShape, options: Any) -> ResidualKept:
    """Plain torch keeps all streams, their norms and their gates, and copies in fp32."""
    n, d, sublayers = options.streams, shape.d_model, shape.n_sublayers
    inner = options.bottleneck(shape) + n
    reads = sublayers + 1
    kernels = Kept(wide=sublayers * (n * d + 2 * inner) + n * d, narrow=sublayers * d)
    plain = Kept(
        wide=reads * ((3 * n + 2) * d + 2 * inner), narrow=sublayers * d, copies=reads * n * d
    )
    return ResidualKept(
        Share(kernels, finish=Kept(wide=n * d), gradients=Kept(wide=2 * n * d)),
        Share(plain, finish=Kept(wide=3 * n * d, copies=n * d), gradients=Kept(wide=n * d)),
        boundary=Kept(wide=(n - 1) * (shape.n_layers - 1) * d),
    )


def _frac_connections(shape: ModelShape, options: Any) -> ResidualKept:
    """The mixed stream, the weights and the output; plain torch keeps one vector more."""
    m, d, sublayers = options.fractions, shape.d_model, shape.n_sublayers
    weights = m * (2 * m + 1) if options.dynamic else 0
    plain = Kept(wide=sublayers * (2 * d + 3 * weights), narrow=sublayers * d)
    kernels = Kept(wide=sublayers * (d + 2 * weights), narrow=sublayers * d)
    return ResidualKept(Share(kernels), Share(plain))


def _denseformer(shape: ModelShape, options: Any) -> ResidualKept:
    """The state before each average."""
    d = shape.d_model
    return _both(Kept(wide=shape.n_layers * d), boundary=Kept(wide=(shape.n_layers - 1) * d))


def _value_residual(shape: ModelShape, options: Any) -> ResidualKept:
    """Mixed values are tensors of their own, where plain torch's are part of the projection.

    The kernels lay the heads side by side again.
    """
    key = shape.n_kv_heads * shape.head_dim
    projection = Kept(narrow=shape.n_heads * shape.head_dim + 2 * key)
    return ResidualKept(
        Share(gradients=projection),
        Share(Kept(narrow=-2 * (shape.n_layers - 1) * key)),
        boundary=projection,
    )


def _lime(shape: ModelShape, options: Any) -> ResidualKept:
    """Keys and values of all blocks; plain torch also keeps those of several heads stacked anew."""
    width, layers = shape.n_kv_heads * shape.head_dim, shape.n_layers
    stacked = layers + 1 if shape.n_kv_heads == 1 else layers**2 - 1
    history = Kept(narrow=2 * layers * width)
    return ResidualKept(
        Share(Kept(wide=2 * layers * width), gradients=Kept(narrow=layers * width)),
        Share(Kept(narrow=stacked * width), gradients=history),
        boundary=history,
    )


def _laurel(shape: ModelShape, options: Any) -> ResidualKept:
    """The inner elements of the low-rank term, and in bf16 a narrow copy of the stream it reads.

    A weighted sum keeps both of its parts.
    """
    rank = options.rank if "lr" in options.form else 0
    summands = shape.d_model if "rw" in options.form else 0
    sublayers = shape.n_sublayers
    cast = sublayers * shape.d_model / 2 if rank else 0
    return _both(Kept(sublayers * summands, sublayers * (rank + summands), cast))


def _muddformer(shape: ModelShape, options: Any) -> ResidualKept:
    """Separate inputs of queries, keys, values and stream, and what their weights come of."""
    d, sublayers, sizes = shape.d_model, shape.n_sublayers, aggregations(shape.n_layers)
    inner = sum(hidden / 2 + ways * sources for ways, sources, hidden in sizes)
    inputs = sum(one.ways - 2 for one in sizes) * d
    gradients = Kept(wide=4 * d + 2 * inner / shape.n_layers)
    return ResidualKept(
        Share(Kept(inputs + inner, sublayers * d), gradients=gradients),
        Share(Kept(2 * inputs + 2 * inner, 2.4 * sublayers * d), gradients=gradients),
        boundary=Kept(wide=3 * shape.n_layers * d),
    )


def _depth(
    shape: ModelShape,
    counts: list[int],
    boundary_vectors: int,
    waiting: float,
    closing: float = 0,
) -> ResidualKept:
    """Attention over depth: sources and mixes in the precision of products, scores in fp32.

    In plain torch under bf16 every reader keeps an fp32 copy of each of its sources but the
    embedding, and every source two of itself for its scores.

    Args:
        shape: the decoder.
        counts: how many sources each sublayer and, last, the output aggregation reads.
        boundary_vectors: new tensors that cross from block to block, over all of them.
        waiting: readers' gradients that wait in the kernels' inboxes for a source's turn, as fitted
            to measurements.
        closing: vectors of a second running sum, each with an fp32 copy.
    """
    d, sublayers = shape.d_model, shape.n_sublayers
    scores = 1.5 * sum(counts)
    wide, narrow = scores + (closing - sublayers) * d, 2 * sublayers * d
    copies = (sum(max(0, count - 1) for count in counts) + 2 * sublayers + closing) * d
    return ResidualKept(
        Share(Kept(wide, narrow, closing * d), gradients=Kept(narrow=waiting * d)),
        Share(
            Kept(wide, narrow, copies),
            finish=Kept(copies=(counts[-1] - 1) * d),
            gradients=Kept(narrow=max(counts) * d),
        ),
        boundary=Kept(wide=scores / 2 - (shape.n_layers - 1) * d, narrow=boundary_vectors * d),
    )


def _full_attnres(shape: ModelShape, options: Any) -> ResidualKept:
    counts = capped(full_sources(shape.n_sublayers), options.window)
    return _depth(shape, counts, shape.n_sublayers, waiting=shape.n_sublayers / 3)


def _block_attnres(shape: ModelShape, options: Any) -> ResidualKept:
    """A block's running sum is a new source after every sublayer."""
    counts = capped(block_sources(options.bounds(shape)), options.window)
    return _depth(shape, counts, shape.n_layers, waiting=2 * shape.n_sublayers / 3)


def _rms_block_attnres(shape: ModelShape, options: Any) -> ResidualKept:
    """The second running sum, of normalised outputs."""
    counts = block_sources(options.bounds(shape))
    layers, sublayers = shape.n_layers, shape.n_sublayers
    return _depth(shape, counts, 3 * layers // 2, 5 * sublayers / 6, closing=sublayers / 2)


def _delta_attnres(shape: ModelShape, options: Any) -> ResidualKept:
    """PreNorm's stream stays beside the sources, so that readings are fp32."""
    counts = options.source_counts(shape)
    d, sources = shape.d_model, len(options.bounds(shape)) - 1
    scores, readers = 1.5 * sum(counts), shape.n_sublayers - 1
    copies = (sum(max(0, count - 1) for count in counts) + 2 * sources) * d
    return ResidualKept(
        Share(Kept(scores, (sources + readers) * d), gradients=Kept(narrow=4 * d)),
        Share(Kept(scores, sources * d, copies), gradients=Kept(narrow=max(counts) * d)),
        boundary=Kept(wide=scores / 2, narrow=sources * d),
    )


RULES: dict[str, Rule] = {
    "prenorm": lambda shape, options: ResidualKept(),
    "rescaled": lambda shape, options: ResidualKept(),
    "postnorm": _postnorm,
    "deepnorm": _postnorm,
    "rezero": _rezero,
    "layerscale": _layerscale,
    "highway": _highway,
    "siamesenorm": _siamesenorm,
    "x0_lambdas": _x0_lambdas,
    "hyper_connections": _hyper_connections,
    "mhc": _mhc,
    "mhc_lite": _mhc_lite,
    "gated_residual": _gated_residual,
    "frac_connections": _frac_connections,
    "denseformer": _denseformer,
    "value_residual": _value_residual,
    "lime": _lime,
    "laurel": _laurel,
    "muddformer": _muddformer,
    "full_attnres": _full_attnres,
    "block_attnres": _block_attnres,
    "rms_block_attnres": _rms_block_attnres,
    "delta_attnres": _delta_attnres,
}
"""By the name of the variant."""


def residual_kept(shape: ModelShape, variant: str, options: Options) -> ResidualKept:
    """One residual's share; of a variant without a rule its traffic beyond PreNorm's, in fp32."""
    if variant in RULES:
        return RULES[variant](shape, options)
    own = get_variant(variant).cost(shape, options).traffic_elements_per_token
    beyond = max(0.0, own - 3.0 * shape.d_model * shape.n_sublayers)
    return _both(Kept(wide=beyond))

"""What a study's models would send between pipeline stages. Torch-free."""

from typing import Any

from attnres_eval.errors import UserError
from attnres_eval.pipeline_cost import cached_vectors, count_transfers, naive_vectors
from attnres_eval.shape import ModelShape, block_bounds
from attnres_eval.study import Study
from attnres_eval.variants import Options
from attnres_eval.variants.attnres import BlockOptions

BYTES_PER_ELEMENT = 2
"""Of bf16."""


def blocks_of(variant: str, options: Options, shape: ModelShape) -> list[tuple[int, int]] | None:
    """The blocks of a variant whose readers need all of them, or None for other variants.

    Full AttnRes has one a sublayer.
    """
    if variant == "full_attnres":
        return block_bounds(shape.n_sublayers, shape.n_sublayers)
    return options.bounds(shape) if isinstance(options, BlockOptions) else None


def pipeline_rows(
    study: Study, stages: int, virtual_stages: int, micro_batch: int
) -> list[dict[str, Any]]:
    """One row for each size and each variant with blocks, and PreNorm's one stream to compare.

    `eq7` and `eq8` are the paper's; `counted` has the embedding and running sums too. Vectors and
    bytes are those of a forward pass over all transitions, bytes in bf16.

    Raises:
        UserError: there are more chunks than sublayers, or no variant of the study has blocks.
    """
    rows = []
    for size in study.sizes:
        shape = study.shape(size)
        stream = stages * virtual_stages - 1
        tokens = micro_batch * shape.context
        for label in study.variants:
            variant, options = study.variant_of(label)
            bounds = blocks_of(variant, options, shape)
            if bounds is None and variant != "prenorm":
                continue
            row: dict[str, Any] = {"size": size, "variant": label, "d_model": shape.d_model}
            if bounds is None:
                counts = {"blocks": None, "eq7_naive": None, "eq8_cached": None}
                naive = cached = float(stream)
                count_transfers(shape.n_sublayers, [], stages, virtual_stages)
                most = 1
            else:
                found = count_transfers(shape.n_sublayers, bounds, stages, virtual_stages)
                counts = {
                    "blocks": len(bounds),
                    "eq7_naive": naive_vectors(stages, virtual_stages, len(bounds)),
                    "eq8_cached": cached_vectors(stages, virtual_stages, len(bounds)),
                }
                naive, cached, most = float(found.naive), float(found.cached), found.most_cached
            vector = BYTES_PER_ELEMENT * shape.d_model
            rows.append(
                {
                    **row,
                    **counts,
                    "counted_naive": naive,
                    "counted_cached": cached,
                    "bytes_per_token_naive": naive * vector,
                    "bytes_per_token_cached": cached * vector,
                    "mib_per_micro_batch_cached": cached * vector * tokens / 2**20,
                    "mib_largest_transition_cached": most * vector * tokens / 2**20,
                }
            )
    if all(row["blocks"] is None for row in rows):
        raise UserError(
            f"study {study.name} has no variant that sends its history between stages;"
            " block_attnres and full_attnres do"
        )
    return rows

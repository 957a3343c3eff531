"""What a study's models would send between pipeline stages. Torch-free."""

from typing import Any

from attnres_eval.errors import UserError
from attnres_eval.pipeline_cost import (
    Transfers,
    cached_vectors,
    count_transfers,
    naive_vectors,
)
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


def pipeline_rows(study: Study, stages: int, virtual_stages: int) -> list[dict[str, Any]]:
    """One row for each size and each variant with blocks, and PreNorm's one stream to compare.

    `eq7` and `eq8` are the paper's; `counted` has the embedding and running sums too. Vectors and
    bytes are those of a forward pass over all transitions, bytes in bf16; a micro-batch is the
    recipe's, or one sequence.

    Raises:
        UserError: there are more chunks than transformer blocks, or no variant has blocks.
    """
    rows = []
    for size in study.sizes:
        shape, recipe = study.shape(size), study.recipe_of(size)
        tokens = (recipe.micro_batch_sequences or 1) * shape.context
        for label in study.variants:
            behind = study.label(label)
            bounds = blocks_of(behind.variant, behind.options, shape)
            if bounds is None and behind.variant != "prenorm":
                continue
            found = count_transfers(shape.n_layers, bounds or [], stages, virtual_stages)
            blocks = None if bounds is None else len(bounds)
            vector = BYTES_PER_ELEMENT * shape.d_model
            if blocks is None:
                stream = (1,) * len(found.naive)
                found = Transfers(stream, stream)
            rows.append(
                {
                    "size": size,
                    "variant": label,
                    "d_model": shape.d_model,
                    "blocks": blocks,
                    "eq7_naive": blocks and naive_vectors(stages, virtual_stages, blocks),
                    "eq8_cached": blocks and cached_vectors(stages, virtual_stages, blocks),
                    "counted_naive": sum(found.naive),
                    "counted_cached": sum(found.cached),
                    "bytes_per_token_naive": sum(found.naive) * vector,
                    "bytes_per_token_cached": sum(found.cached) * vector,
                    "mib_per_micro_batch_cached": sum(found.cached) * vector * tokens / 2**20,
                    "mib_largest_transition_cached": max(found.cached, default=0)
                    * vector
                    * tokens
                    / 2**20,
                }
            )
    if all(row["blocks"] is None for row in rows):
        raise UserError(
            f"study {study.name} has no variant that sends its history between stages;"
            " block_attnres and full_attnres do"
        )
    return rows

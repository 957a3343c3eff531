"""Step times of a study's labels, to be held against the losses that the study measured."""

from attnres_eval.bench.names import WORTH
from attnres_eval.bench.ours import default_precision
from attnres_eval.bench.plan import Plan
from attnres_eval.bench.rows import Row, measured_row
from attnres_eval.bench.sizes import MIDDLE, bench_shape
from attnres_eval.bench.steps import BASE, Labelled, step_pairs
from attnres_eval.shape import ModelShape
from attnres_eval.study import Study
from attnres_eval.sweep.folder import read_study


def labels_of(study: Study, shape: ModelShape) -> Labelled:
    """The study's labels with variant and options, but for its PreNorm.

    Raises:
        ValueError: a label's options do not fit the decoder.
    """
    found: Labelled = {}
    for label in study.variants:
        behind = study.label(label)
        behind.options.check(shape)
        if label != BASE:
            found[label] = (behind.variant, behind.options.model_dump(mode="json"))
    return found


def measure(plan: Plan) -> list[Row]:
    """A row for every label of the study; none where the call names no results."""
    if plan.results is None:
        plan.say("worth: left out, for it needs --results")
        return []
    shape = bench_shape(MIDDLE)
    labels = labels_of(read_study(plan.results), shape)
    precision = plan.precision or default_precision(shape)
    plan.say(f"worth: {MIDDLE}, {precision}, {len(labels)} labels of {plan.results}")
    pairs = step_pairs(shape, labels, precision, plan.rounds)
    return [
        measured_row(
            "worth",
            WORTH,
            MIDDLE,
            pair.ratio,
            precision=precision,
            rounds=plan.rounds,
            note=plan.results.as_posix(),
            variant=label,
        )
        for label, pair in pairs.items()
    ]

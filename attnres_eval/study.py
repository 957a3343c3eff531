"""What a study is: variants x sizes x seeds on some data under one recipe."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from attnres_eval.cost import Cost, matrix_parameters, model_cost
from attnres_eval.labels import Label, expanded, parse_label
from attnres_eval.shape import Hidden, Layers, ModelShape, Tokens, Width, default_d_ff
from attnres_eval.variants import Options, parse_options

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.]*$", max_length=60)]
StudyName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=60)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1e6)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Strict(BaseModel):
    """A part of a study file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Size(Strict):
    """One rung of the ladder."""

    d_model: Width
    n_layers: Layers
    """Transformer blocks; each holds two sublayers."""
    n_heads: Width
    n_kv_heads: Width | None = None
    """Grouped-query attention; as many as `n_heads` where absent."""
    d_ff: Hidden | None = None
    """SwiGLU width; 8/3 of d_model, rounded up to a multiple of 8, where absent."""
    head_dim: Width | None = None
    """Width of a head; d_model over n_heads where absent."""
    tokens: Annotated[int, Field(gt=0, le=10**15)] | None = None
    """Training tokens; by the recipe's `tokens_per_parameter` where absent."""
    batch_sequences: Tokens | None = None
    """Sequences a step; the recipe's where absent."""
    learning_rate: PositiveFloat | None = None
    """Peak rate of AdamW at this size; by the recipe where absent."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "Size":
        if self.n_kv_heads is not None and self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_kv_heads {self.n_kv_heads} does not divide n_heads {self.n_heads}")
        if self.head_dim is not None:
            if self.head_dim % 2:
                raise ValueError(f"head_dim {self.head_dim} is odd; rotary embeddings need it even")
            return self
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads {self.n_heads} does not divide d_model {self.d_model}")
        if self.d_model // self.n_heads % 2:
            raise ValueError(
                f"d_model {self.d_model} over n_heads {self.n_heads} is odd;"
                " rotary embeddings need an even width of a head"
            )
        return self


class Data(Strict):
    """Text and tokens."""

    corpora: dict[str, Share] = Field(default={"commonsense": 1.0}, min_length=1)
    """Share of the training tokens by corpus: `commonsense`, `reasoning`, `reasoning:FAMILY`,
    `file:PATH` or `hf:NAME`."""
    vocab_size: int = Field(default=4096, ge=257, le=2**31)
    """Entries of the byte-level BPE: 256 bytes, one end-of-text mark, the rest merges."""
    validation_tokens: PositiveInt = 262_144
    """Held-out tokens on which every run is scored, at most."""
    hub_characters: PositiveInt = 100_000_000
    """Characters streamed of each `hf:` corpus, at most; about 25 million tokens at 4,096."""
    reasoning_characters: PositiveInt = 12_000_000
    """Characters made of each corpus `reasoning`, two a token."""


class ModelOptions(Strict):
    """What all models of a study share, whatever their size."""

    tied_head: bool = True
    qk_norm: bool = False


class Recipe(Strict):
    """How every model of a study is trained, whatever its residual."""

    context: Tokens = 256
    batch_sequences: Tokens = 16
    """Sequences a step; a step holds `batch_sequences * context` tokens."""
    micro_batch_sequences: Tokens | None = None
    """Sequences that a process computes at once, adding up the gradients of its share of a step;
    all of its share where absent."""
    tokens_per_parameter: float = Field(default=20.0, gt=0, le=1e6)
    """Training tokens over the matrix parameters of a PreNorm model of the same size."""
    answer_weight: PositiveFloat = 1.0
    """Weight of a token behind ` =` in the training loss: it answers a question of the corpora
    `reasoning`, whose questions themselves cannot be foreseen. Held-out loss has no weights."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: PositiveFloat = 3e-3
    """Peak rate of AdamW, at every width or at `learning_rate_width`."""
    learning_rate_width: PositiveInt | None = None
    """The d_model that `learning_rate` is for; at other widths it is multiplied by this over
    d_model, the rule by which a best rate moves with width under this initialisation (LOG.md)."""
    muon_learning_rate: PositiveFloat = 2e-2
    """Peak rate of Muon, which then trains the body's matrices."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    weight_decay: float = Field(default=0.1, ge=0)
    """On the matrices of body, embedding and head; never on norms or the residual."""
    grad_clip: PositiveFloat = 1.0
    schedule: Literal["cosine", "wsd"] = "cosine"
    warmup_fraction: Fraction = 0.05
    decay_fraction: Fraction = 0.2
    """Share of the steps in the linear decay that ends the `wsd` schedule."""
    final_fraction: Fraction = 0.1
    """Last rate over peak rate."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` takes bf16 where the device multiplies it natively."""
    compile: bool | Literal["auto", "sublayer"] = "auto"
    """The whole loss as one graph, or each sublayer as one; `auto` compiles the whole where the
    planned run is long enough to earn the compilation back."""
    activation_checkpointing: bool = False
    log_every: PositiveInt = 20
    """Steps between lines of metrics.jsonl."""
    checkpoint_every: PositiveInt = 500
    """Steps between checkpoints from which a killed run resumes."""


class Task(Strict):
    """One lm-eval task of a study."""

    limit: PositiveInt | None = None
    """Questions to score, the first ones; all where absent."""
    num_fewshot: NonNegativeInt | None = None


class Evaluation(Strict):
    """Which runs are scored on which tasks."""

    sizes: list[str] | Literal["largest", "all", "none"] = "largest"
    tasks: dict[str, Task | None] = {}
    batch_size: PositiveInt = 32
    inspection_tokens: NonNegativeInt = 8192
    """Held-out tokens on which the runs of the largest size are inspected, at most; 0 for none."""
    calibration_rounds: NonNegativeInt = 30
    """Rounds in which each variant's training steps are timed in turn with the baseline's at each
    size, at most (`attnres_eval.sweep.calibration`); 0 for none."""


class RunConfig(Strict):
    """One run, complete: nothing else decides its result."""

    study: str
    run: str
    label: str
    variant: str
    options: dict[str, Any]
    size: str
    shape: ModelShape
    seed: Seed
    data: Data
    recipe: Recipe
    steps: PositiveInt

    @property
    def parsed_options(self) -> Options:
        """The variant's options as its own type."""
        return parse_options(self.variant, self.options)

    @property
    def learning_rate(self) -> float:
        """Peak rate of AdamW at this run's width: the same for every variant."""
        width = self.recipe.learning_rate_width or self.shape.d_model
        return self.recipe.learning_rate * width / self.shape.d_model

    @property
    def tokens(self) -> int:
        """Training tokens of the whole run."""
        return self.steps * self.recipe.batch_sequences * self.recipe.context

    def cost(self) -> Cost:
        """The price of this run's model."""
        return model_cost(
            self.shape,
            self.variant,
            self.parsed_options,
            activation_checkpointing=self.recipe.activation_checkpointing,
        )

    @property
    def training_flops(self) -> float:
        """FLOPs of the whole run."""
        return self.cost().training_flops_per_token * self.tokens


class Study(Strict):
    """A study file.

    `variants` maps a label to its keys (`attnres_eval.labels`), so that one variant can stand in a
    study with several sets of options and at several learning rates.
    """

    name: StudyName
    description: str = ""
    variants: dict[Name, dict[str, Any] | None] = Field(min_length=1)
    baseline: Name = "prenorm"
    """Label that the others are compared with."""
    sizes: dict[Name, Size] = Field(min_length=1)
    seeds: list[Seed] = Field(min_length=1)
    data: Data = Data()
    model: ModelOptions = ModelOptions()
    recipe: Recipe = Recipe()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="before")
    @classmethod
    def _a_label_a_rate(cls, values: Any) -> Any:
        variants = values.get("variants") if isinstance(values, dict) else None
        return {**values, "variants": expanded(variants)} if isinstance(variants, dict) else values

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        if self.baseline not in self.variants:
            raise ValueError(f"baseline {self.baseline} is not among the variants")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeat")
        if isinstance(self.evaluation.sizes, list):
            for size in self.evaluation.sizes:
                if size not in self.sizes:
                    raise ValueError(f"evaluation.sizes: there is no size {size}")
        for label in self.variants:
            behind = self.label(label)
            for name in self.sizes:
                try:
                    behind.options.check(self.shape(name))
                except ValueError as error:
                    raise ValueError(
                        f"variants.{label} ({behind.variant}) at size {name}: {error}"
                    ) from None
        return self

    def label(self, name: str) -> Label:
        """What stands behind a label of this study."""
        return parse_label(name, self.variants[name], self.variants, self.sizes)

    def shape(self, name: str) -> ModelShape:
        """The decoder of one size."""
        size = self.sizes[name]
        return ModelShape(
            d_model=size.d_model,
            n_layers=size.n_layers,
            n_heads=size.n_heads,
            n_kv_heads=size.n_kv_heads or size.n_heads,
            head_dim=size.head_dim or size.d_model // size.n_heads,
            d_ff=size.d_ff or default_d_ff(size.d_model),
            vocab_size=self.data.vocab_size,
            context=self.recipe.context,
            tied_head=self.model.tied_head,
            qk_norm=self.model.qk_norm,
        )

    def recipe_of(self, name: str) -> Recipe:
        """The recipe at one size: the study's, with what the size says instead."""
        size = self.sizes[name]
        changes: dict[str, Any] = {}
        if size.batch_sequences is not None:
            changes["batch_sequences"] = size.batch_sequences
        if size.learning_rate is not None:
            changes |= {"learning_rate": size.learning_rate, "learning_rate_width": None}
        return self.recipe.model_copy(update=changes)

    def steps(self, label: str, size: str) -> int:
        """Training steps of a label at a size: the same for all labels without `flops_of`."""
        recipe, tokens = self.recipe_of(size), self.sizes[size].tokens
        wanted = tokens or recipe.tokens_per_parameter * matrix_parameters(self.shape(size))
        reference = self.label(label).flops_of
        if reference is not None:
            wanted *= self._flops_per_token(reference, size) / self._flops_per_token(label, size)
        return max(1, round(wanted / (recipe.batch_sequences * recipe.context)))

    def _flops_per_token(self, label: str, size: str) -> float:
        behind = self.label(label)
        cost = model_cost(
            self.shape(size),
            behind.variant,
            behind.options,
            activation_checkpointing=self.recipe.activation_checkpointing,
        )
        return cost.training_flops_per_token

    def run(self, label: str, size: str, seed: int) -> RunConfig:
        """One run of this study."""
        behind, recipe = self.label(label), self.recipe_of(size)
        rates = {
            name: getattr(recipe, name) * behind.scale_at(size)
            for name in ("learning_rate", "muon_learning_rate")
        }
        return RunConfig(
            study=self.name,
            run=f"{label}-{size}-s{seed}",
            label=label,
            variant=behind.variant,
            options=behind.options.model_dump(mode="json"),
            size=size,
            shape=self.shape(size),
            seed=seed,
            data=self.data,
            recipe=recipe.model_copy(update=rates),
            steps=self.steps(label, size),
        )

    def runs(self) -> list[RunConfig]:
        """All runs, size by size, seed by seed, so that compared runs are neighbours in time."""
        return [
            self.run(label, size, seed)
            for size in self.sizes
            for seed in self.seeds
            for label in self.variants
        ]

    def step_key(self) -> dict[str, Any]:
        """What decides how long a training step takes."""
        values = self.model_dump(mode="json")
        names = ("variants", "baseline", "sizes", "model", "recipe")
        return {**{name: values[name] for name in names}, "vocab_size": self.data.vocab_size}

    @property
    def largest_size(self) -> str:
        """The size of most matrix parameters, and so of most FLOPs."""
        return max(self.sizes, key=lambda size: matrix_parameters(self.shape(size)))

    def evaluated_sizes(self) -> list[str]:
        """Sizes whose runs are scored on the tasks."""
        chosen = self.evaluation.sizes
        if chosen == "none" or not self.evaluation.tasks:
            return []
        if chosen == "all":
            return list(self.sizes)
        if chosen == "largest":
            return [self.largest_size]
        return list(chosen)

"""Which peers there are, and what each is a peer of."""

from attnres_eval.bench.public.depth_attention import (
    build_attn_res_block,
    build_attn_res_full,
    build_x_transformers,
)
from attnres_eval.bench.public.llama import build_llama
from attnres_eval.bench.public.peer import Peer
from attnres_eval.bench.public.streams import (
    build_deepseek_v4,
    build_hyper_connections,
    build_hyper_connections_mhc,
)
from attnres_eval.bench.rows import Aim

LLAMA = Peer("Llama eager", "transformers", build_llama, ("eager", "sdpa"))
LLAMA_COMPILED = Peer(
    "Llama compiled", "transformers", build_llama, ("eager", "sdpa"), compiled=True
)
ATTN_RES_FULL = Peer("attn-res Full", "attn-res", build_attn_res_full)
ATTN_RES_BLOCK = Peer("attn-res Block", "attn-res", build_attn_res_block)
X_TRANSFORMERS = Peer(
    "x-transformers depth attention", "x-transformers", build_x_transformers, ("plain", "flash")
)
HYPER_CONNECTIONS = Peer("hyper-connections", "hyper-connections", build_hyper_connections)
MHC_PACKAGE = Peer("hyper-connections mHC", "hyper-connections", build_hyper_connections_mhc)
DEEPSEEK_V4 = Peer("DeepSeek-V4 mHC", "transformers", build_deepseek_v4)

TWICE = Aim(2.0, upward=True)
NO_SLOWER = Aim(1.0, upward=True)
PEERS: dict[str, tuple[tuple[Peer, Aim], ...]] = {
    "prenorm": ((LLAMA, Aim(1.5, upward=True)), (LLAMA_COMPILED, Aim(1.1, upward=True))),
    "full_attnres": ((ATTN_RES_FULL, TWICE), (X_TRANSFORMERS, TWICE)),
    "block_attnres": ((ATTN_RES_BLOCK, TWICE), (X_TRANSFORMERS, TWICE)),
    "hyper_connections": ((HYPER_CONNECTIONS, NO_SLOWER),),
    "mhc": ((MHC_PACKAGE, NO_SLOWER), (DEEPSEEK_V4, NO_SLOWER)),
}
"""By variant of ours: its peers, and how many times their tokens a second ours is to reach."""
NO_PEER = {"muddformer": "no package with MUDDFormer is known to us"}

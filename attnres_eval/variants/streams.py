"""What the variants with several streams share: the price of reading, mixing and writing them."""


def stream_flops(streams: int, d_model: int) -> int:
    """FLOPs of one sublayer's read, 2 n d, and of its update.

    H' = mixing H + write y combines n + 1 vectors into n: 2 n (n + 1) d.
    """
    return 2 * streams * d_model + 2 * streams * (streams + 1) * d_model


def stream_traffic(streams: int, width: int, coefficients: int) -> int:
    """Elements that one sublayer's hyper-connection moves (arXiv:2512.24880 table 2).

    That schedule takes each operation by itself. For n streams of width d and c coefficients:
    computing these reads n d and writes c; the read reads n d and writes d; the write reads d and
    writes n d; the mixing reads n d and writes n d; their addition reads 2 n d and writes n d. The
    coefficients, once written, are read once. Together (8 n + 2) d + 2 c, which is the published
    (5 n + 1) d + n^2 + 2 n read and (3 n + 1) d + n^2 + 2 n written for c = n^2 + 2 n.

    Coefficients that are the same for every token cost nothing: (7 n + 2) d.

    Args:
        streams: n.
        width: d, the width of one stream.
        coefficients: c, how many coefficients are computed for each token; 0 where fixed.
    """
    computed = streams * width + 2 * coefficients if coefficients else 0
    return (7 * streams + 2) * width + computed

"""CKA of every layer of one network with every layer of another, from features, by the cheaper route.

`headstart.metrics.representations.similarity` has the definitions. Where nothing but the grid is wanted, the
inner product of two Grams, of centred X (n × p) and Y (n × q), can be had in two ways:

    from Grams      n² p operations a layer, n² a pair    (wide features)
    as ‖XᵀY‖²       2 n p q operations a pair             (many images)

Of more than a few images only one triangle of a Gram is made and kept. Products have the precision of the features, whose own rounding
is as large as theirs, and are summed in float64.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from headstart.metrics.representations.similarity import RELATIVE_FLOOR, Layers, require_images

ENTRIES = 2**16
"""Entries of Grams per product: what stays in a processor's cache."""
SMALL = 2**20
"""Entries of Grams that are centred together."""
FEW = 256
"""Images up to which Grams are made whole, both of their triangles."""
OFFSET = 16
"""How much longer than a deviation a mean may be, in squares, before rounding of it matters."""


def layer_cka(xs: Layers, ys: Layers, debiased: bool = True) -> Float64[Tensor, "xs ys"]:
    """Return CKA of all layers of two networks on the same images; NaN where it is undefined.

    Raises:
        ValueError: fewer than 4 images.
    """
    one, other = ([_flat(layer) for layer in layers] for layers in (xs, ys))
    require_images(len(one[0]))
    grams, features = costs(len(one[0]), [x.shape[1] for x in one], [y.shape[1] for y in other])
    route = _by_grams if grams <= features else _by_features
    products, squared, diagonals = route([*one, *other], len(one), debiased)
    floor = max(8 * torch.finfo(one[0].dtype).eps, RELATIVE_FLOOR**2) * diagonals.square().sum(1)
    lengths = squared.where(squared > floor, torch.nan).sqrt()
    return products / torch.outer(lengths[: len(one)], lengths[len(one) :])


def costs(images: int, widths: Sequence[int], others: Sequence[int]) -> tuple[int, int]:
    """Return the operations that a grid takes from Grams, and from features."""
    squares = sum(width**2 for width in (*widths, *others))
    grams = images**2 * (sum(widths) + sum(others) + len(widths) * len(others))
    return grams, 2 * images * (sum(widths) * sum(others) + squares)


Parts = tuple[
    Float64[Tensor, "xs ys"], Float64[Tensor, " layers"], Float64[Tensor, "layers images"]
]
"""⟨K, L⟩ of the first layers with the others, ⟨K, K⟩ of all, and the diagonals of all Grams."""


def _flat(layer: Float[Tensor, "images ..."]) -> Float[Tensor, "images width"]:
    flat = layer if layer.ndim == 2 else layer.flatten(1)
    return flat if flat.dtype in (torch.float32, torch.float64) else flat.float()


def _by_features(layers: Sequence[Tensor], first: int, debiased: bool) -> Parts:
    centred = [_centred(x) for x in layers]
    n, others = len(centred[0]), centred[first:]
    k = torch.stack([x.square().sum(1).double() for x in centred])
    everything, widths = torch.cat(others, 1), [y.shape[1] for y in others]
    columns = ((x.T @ everything).square().sum(0).double() for x in centred[:first])
    products = torch.stack([torch.stack([y.sum() for y in c.split(widths)]) for c in columns])
    own = torch.stack([(x.T @ x).square().sum(0).double().sum() for x in centred])
    if debiased:  # rows of centred Grams sum to zero, so that the diagonals say it all
        lost = n / (n - 2) * k @ k.T - _outer(k.sum(1)) / ((n - 1) * (n - 2))
        products, own = products - lost[:first, first:], own - lost.diagonal()
    return products, own, k


def _centred(x: Float[Tensor, "images width"]) -> Float[Tensor, "images width"]:
    """Return features minus their mean, zero where they are constant but for rounding."""
    once = x - x.mean(0)
    result = once - once.mean(0)  # what rounding of the mean left behind
    return result * (result.norm() > torch.finfo(x.dtype).eps * x.norm())


def _by_grams(layers: Sequence[Tensor], first: int, debiased: bool) -> Parts:
    if len(layers[0]) <= FEW and (found := _by_squares(layers, first, debiased)):
        return found
    vectors, k = _triangles(layers, debiased)
    product = own = torch.zeros((), dtype=torch.float64, device=vectors.device)
    for part in vectors.split(ENTRIES, 1):
        product = product + (part[:first] @ part[first:].T).double()
        own = own + (part * part).sum(1).double()
    if debiased:
        return product, own, k
    return product + k[:first] @ k[first:].T, own + k.square().sum(1), k


def _by_squares(layers: Sequence[Tensor], first: int, debiased: bool) -> Parts | None:
    """Return the same from whole Grams that are not centred; None where features have too large a mean for that.

    For few images, where calls take longer than arithmetic.
    """
    n = len(layers[0])
    grams = layers[0].new_empty(len(layers), n, n)
    if _alike(layers):
        together = torch.stack([*layers])
        torch.bmm(together, together.mT, out=grams)
    else:
        for x, gram in zip(layers, grams, strict=True):
            torch.mm(x, x.T, out=gram)
    diagonal = grams.diagonal(dim1=1, dim2=2)
    # A copy in float64 too, where .double() is the diagonal itself.
    k = diagonal.to(torch.float64, copy=True)
    diagonal.zero_()
    rows = grams.sum(2).double()
    complete = rows + k
    shared = complete.sum(1, keepdim=True) / n**2
    if (2 * shared > k.mean(1, keepdim=True)).any():
        return None
    vectors = grams.flatten(1)
    products = (vectors[:first] @ vectors[first:].T).double()
    own = (vectors * vectors).sum(1).double()
    if debiased:
        lost = rows @ rows.T * (2 / (n - 2)) - _outer(rows.sum(1)) / ((n - 1) * (n - 2))
    else:
        lost = complete @ complete.T * (2 / n) - k @ k.T - _outer(complete.sum(1)) / n**2
    centred = k - complete * (2 / n) + shared
    return products - lost[:first, first:], own - lost.diagonal(), centred


def _outer(x: Float64[Tensor, " layers"]) -> Float64[Tensor, "layers layers"]:
    return torch.outer(x, x)


def _alike(layers: Sequence[Tensor]) -> bool:
    """Return whether features are so few that it pays to multiply those of all layers in one call."""
    return sum(x.numel() for x in layers) < SMALL and len({x.shape for x in layers}) == 1


def _triangles(
    layers: Sequence[Float[Tensor, "images width"]], debiased: bool
) -> tuple[Float[Tensor, "layers entries"], Float64[Tensor, "layers images"]]:
    """Return what is below the diagonals of all centred Grams, and the diagonals of doubly centred ones."""
    n = len(layers[0])
    vectors = layers[0].new_empty(
        len(layers), sum((last - first) * last for first, last in _bands(n))
    )
    together = max(1, SMALL // n**2)
    diagonals = [
        _triangle(layers[start : start + together], vectors[start : start + together], debiased)
        for start in range(0, len(layers), together)
    ]
    return vectors, torch.cat(diagonals)


def _bands(n: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last images of bands of rows, narrow ones, as a triangle has no other half."""
    rows = max(64, n // 16)
    return ((first, min(first + rows, n)) for first in range(0, n, rows))


def _triangle(
    layers: Sequence[Tensor], out: Float[Tensor, "layers entries"], debiased: bool
) -> Float64[Tensor, "layers images"]:
    """Write the triangles of centred Grams; return the diagonals of the doubly centred ones."""
    n = len(layers[0])
    rows, diagonal = _products(layers, out)
    shared = (rows + diagonal).sum(1) / n**2
    if (shared > OFFSET * (diagonal.mean(1) - shared)).any():
        rows, diagonal = _products([_centred(x) for x in layers], out)
    # A term that is shared by rows and columns; the debiased form knows no diagonal.
    sums, count = (rows, n - 1) if debiased else (rows + diagonal, n)
    lost = sums / (count - debiased) - sums.sum(1, keepdim=True) / (2 * count * (count - debiased))
    taken = lost.to(out.dtype)
    for first, last, block in _blocks(out, n):
        block -= taken[:, first:last, None]
        block -= taken[:, None, :last]
        block.diagonal(first, 1, 2).zero_()
        if first:  # what is left of the band's square stands for both triangles
            block[:, :, :first] *= math.sqrt(2)
    return diagonal - 2 * lost


def _products(
    layers: Sequence[Tensor], out: Float[Tensor, "layers entries"]
) -> tuple[Float64[Tensor, "layers images"], Float64[Tensor, "layers images"]]:
    """Write all XXᵀ up to the diagonal; return the sums of rows without the diagonal, and the diagonal."""
    rows = out.new_zeros(len(layers), len(layers[0]), dtype=torch.float64)
    diagonals = []
    alike = _alike(layers)
    together = torch.stack([*layers]) if alike else out
    for first, last, block in _blocks(out, len(layers[0])):
        if alike:
            torch.bmm(together[:, first:last], together[:, :last].mT, out=block)
        else:
            for x, place in zip(layers, block, strict=True):
                torch.mm(x[first:last], x[:last].T, out=place)
        diagonals.append(block.diagonal(first, 1, 2).double())
        rows[:, first:last] += block.sum(2)
        if first:
            rows[:, :first] += block[:, :, :first].sum(1)
    diagonal = torch.cat(diagonals, 1)
    return rows - diagonal, diagonal


def _blocks(vectors: Float[Tensor, "layers entries"], n: int) -> Iterator[tuple[int, int, Tensor]]:
    """Yield the rows of the triangles in bands, as views "layers rows columns"."""
    start = 0
    for first, last in _bands(n):
        entries = (last - first) * last
        yield first, last, vectors[:, start : start + entries].unflatten(1, (-1, last))
        start += entries

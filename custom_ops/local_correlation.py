"""Correlation of two images within a box around each voxel (local NCC), and its gradient.

The native op (`cc/local_ncc.h`) computes the value and the gradients in one pass of sliding sums;
`python_backend.local_ncc` is the definition, and the fallback.
"""

from __future__ import annotations

import tensorflow as tf

from custom_ops import planes, python_backend
from custom_ops.sampling import resolve_backend

_GRADIENTS = ("none", "warped", "both")


@tf.autograph.experimental.do_not_convert
def local_ncc(
    fixed: tf.Tensor,
    warped: tf.Tensor,
    mask: tf.Tensor | None = None,
    *,
    window: int = 9,
    squared: bool = True,
    variance_floor: float = 1e-5,
    gradients: str = "warped",
    backend: str = "auto",
) -> tf.Tensor:
    """1 - mean over voxels of the correlation within a box around each (Avants et al. 2008).

        r^2(x) = cov^2 / ((var f + floor) (var w + floor)),  r(x) its signed root
        value = 1 - sum_x m(x) r^2(x) / sum_x m(x),  m = 1 without a mask

    Means, variances and the covariance are taken over the box's voxels that lie inside the volume,
    each weighted by its mask. So with a mask of where both images have data, nothing outside it
    counts: neither as a window nor within one, whatever it holds, NaN included. Where an image is
    flat, the floor makes r vanish and keeps its gradient bounded.

    >>> import tensorflow as tf
    >>> image = tf.random.stateless_uniform([1, 9, 8, 1], (1, 2))
    >>> inverted, flat = local_ncc(image, 1 - image, window=5), local_ncc(image, 0 * image)
    >>> print(f"{inverted.numpy().item():.2f} {flat.numpy().item():.2f}")
    0.00 1.00

    Args:
        fixed, warped: [B, *spatial, C] float16, bfloat16, float32 or float64; each channel counts
            as a separate image. 16 bits are widened to float32 first. A NaN or an infinity that
            the mask does not hide makes the sample's value and gradient NaN.
        mask: [B, *spatial, 1], boolean or weights, of which what is not positive counts as zero;
            it gets no gradient. A sample without any voxel has the value 1 and no gradient.
        window: side of the box in voxels, odd.
        squared: True for r^2, which rates an inverted contrast equally; False for r.
        variance_floor: squared units of intensity, positive; the default is for images in [0, 1].
        gradients: what the native op computes along with the value: "warped", "both" or "none". A
            gradient that is asked for all the same takes another pass. In a `tf.function`, one that
            nobody asks for is left out.
        backend: as in `warp`. The native op takes images in 2D and 3D, is differentiable once, and
            gives the same bits for any number of threads.

    Returns: [B] float32 or float64; in [0, 1], or in [0, 2] for r.

    Raises:
        ValueError: the window is even or not positive, shapes do not match, or a choice is unknown.
        TypeError: the images are not floating point or of different types.
        ImportError: if the native backend is demanded but not available.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"the window of the local NCC must be odd and positive; got {window}.")
    if gradients not in _GRADIENTS:
        raise ValueError(f"`gradients` must be one of {_GRADIENTS}; got {gradients!r}.")
    fixed, warped = tf.convert_to_tensor(fixed), tf.convert_to_tensor(warped)
    _check(fixed, warped)
    if fixed.dtype.size < 4:
        fixed, warped = tf.cast(fixed, tf.float32), tf.cast(warped, tf.float32)
    if mask is not None:
        mask = tf.convert_to_tensor(mask)
        wanted = fixed.shape[:-1].concatenate([1])
        if not wanted.is_compatible_with(mask.shape):
            raise ValueError(f"`mask` must have shape {wanted} to match `fixed`; got {mask.shape}.")
        mask = tf.stop_gradient(tf.cast(mask, fixed.dtype))
    if resolve_backend(backend) == "python" or fixed.shape.rank not in (4, 5):
        return python_backend.local_ncc(fixed, warped, mask, window, squared, variance_floor)

    from custom_ops import native_backend

    masks = [] if mask is None else [mask]
    if fixed.shape.rank == 4:
        fixed, warped, *masks = (planes.lift_rows(image) for image in (fixed, warped, *masks))
    return native_backend.local_ncc(
        fixed, warped, masks, window, squared, variance_floor, gradients
    )


def _check(fixed, warped):
    if fixed.shape.rank is not None and fixed.shape.rank < 3:
        raise ValueError(f"`fixed` must have shape [B, *spatial, C]; got {fixed.shape}.")
    if not fixed.shape.is_compatible_with(warped.shape):
        raise ValueError(
            f"`warped` must have shape {fixed.shape} to match `fixed`; got {warped.shape}."
        )
    if not fixed.dtype.is_floating:
        raise TypeError(f"`fixed` must be floating point; got {fixed.dtype.name}.")
    if fixed.dtype != warped.dtype:
        raise TypeError(
            f"`fixed` and `warped` must share a dtype; got {fixed.dtype.name} and "
            f"{warped.dtype.name}."
        )

"""Three-axis rotary position embedding, 4:6:6 over (t, h, w), without buffers.

Axes: N tokens, H heads, D head width, P = D/2 pairs, 3 = (t, h, w).

Half a head (P numbers) is split 4:6:6 into sizes (P/4, 3P/8, 3P/8). Every axis spans its own whole range of
frequencies: omega_axis[j] = theta^(-j / size_axis). A token at (t, h, w) has P angles
f = [t * omega_t | h * omega_h | w * omega_w].

``rotary``: pair j = channels (j, j + P) turns by f[j]. A true rotation: norms are kept, and q.k depends on the
difference of positions alone.

``pairwise``: the operator of the published weights (the original's ``modeling_onevision_encoder.py``). It lays the
angles out for half-split pairs, F = [f | f], but turns interleaved pairs (2i, 2i + 1), so the two rows of a pair use
two neighbouring angles a = F[2i], b = F[2i + 1]: y0 = x0 cos a - x1 sin a, y1 = x1 cos b + x0 sin b. That is no
rotation, and the weights were trained with it.

Both return the channels of a head as [first of every pair | second of every pair]. For ``rotary`` that is the order
they came in; for ``pairwise`` it is a permutation, the same for q and k, which no dot product can see.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from onevision_encoder.model.configuration import ROPE_UNIT


@dataclass(frozen=True, kw_only=True)
class RopeTable:
    """cos and sin of every token and pair, float32 (float64 for float64 positions), [N, 1, P].

    ``first`` rules the row of a pair that keeps its first channel, ``second`` the other; they are the same
    tensors in ``rotary`` mode.
    """

    mode: str
    cos_first: Tensor
    sin_first: Tensor
    cos_second: Tensor
    sin_second: Tensor

    def rows(self, start: int, stop: int) -> RopeTable:
        """The table of tokens start..stop-1 (views)."""
        return RopeTable(
            mode=self.mode,
            cos_first=self.cos_first[start:stop],
            sin_first=self.sin_first[start:stop],
            cos_second=self.cos_second[start:stop],
            sin_second=self.sin_second[start:stop],
        )


def inverse_frequencies(head_dim: int, theta: float, device: torch.device | None = None) -> tuple[Tensor, ...]:
    """Frequencies of the three axes, float32, sizes (P/4, 3P/8, 3P/8) with P = head_dim / 2."""
    unit = head_dim // ROPE_UNIT
    return tuple(
        1.0 / theta ** (torch.arange(size, dtype=torch.float32, device=device) / size)
        for size in (4 * unit, 6 * unit, 6 * unit)
    )


def rope_angles(positions_N3: Tensor, head_dim: int, theta: float) -> Tensor:
    """Angles f in radians, [N, P], float32 or the wider dtype of the positions (any number is a position)."""
    wide = torch.promote_types(positions_N3.dtype, torch.float32)
    omegas = inverse_frequencies(head_dim, theta, positions_N3.device)
    positions = positions_N3.to(wide)
    return torch.cat([positions[:, axis, None] * omegas[axis].to(wide) for axis in range(3)], dim=-1)


def rope_table(positions_N3: Tensor, *, head_dim: int, theta: float, mode: str) -> RopeTable:
    """Make the table of one forward pass; every layer shares it.

    Args:
        positions_N3: (t, h, w) of each token, integers or floats.
        head_dim: D, a multiple of 32. theta: base of the frequencies. mode: ``"pairwise"`` or ``"rotary"``.
    """
    f_NP = rope_angles(positions_N3, head_dim, theta)
    # float32 whatever autocast is on: bfloat16 cannot tell angle 63 from 63.2
    cos, sin = f_NP.cos()[:, None, :], f_NP.sin()[:, None, :]
    if mode == "rotary":
        return RopeTable(mode=mode, cos_first=cos, sin_first=sin, cos_second=cos, sin_second=sin)
    cos, sin = torch.cat([cos, cos], dim=-1), torch.cat([sin, sin], dim=-1)
    return RopeTable(
        mode=mode,
        cos_first=cos[..., 0::2].contiguous(),
        sin_first=sin[..., 0::2].contiguous(),
        cos_second=cos[..., 1::2].contiguous(),
        sin_second=sin[..., 1::2].contiguous(),
    )


def apply_rope(x_NHD: Tensor, table: RopeTable) -> Tensor:
    """Turn the queries or keys of N tokens; computed in the table's dtype, returned in theirs.

    Returns:
        [N, H, D], channels as [first of every pair | second of every pair] (see the module docstring).
    """
    x = x_NHD.to(table.cos_first.dtype)
    if table.mode == "rotary":
        first, second = x.chunk(2, dim=-1)
    else:
        first, second = x[..., 0::2], x[..., 1::2]
    turned = [
        first * table.cos_first - second * table.sin_first,
        second * table.cos_second + first * table.sin_second,
    ]
    return torch.cat(turned, dim=-1).to(x_NHD.dtype)

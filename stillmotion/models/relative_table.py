"""Mix a table of relative positions by attention: out[q] = sum_r A[q, r] table[offset(q, r)], without the gather.

The plain form gathers table[offset] into a (P, P, D) tensor: 118 MB at ViT-B/16. But with the keys flipped, the rows
of the table that the queries of a small tile of the grid touch form one window of the table, the same for every video
and frame. So a tile is one matrix product of the attention, laid into that window, with the window itself.
"""

import contextlib
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Queries per tile: the fastest of 1x7, 2x4, 2x7, 7x7 and whole rows on a 14x14 grid, two CPU cores.
TILE = (2, 7)


class RelativeTable(nn.Module):
    """The offsets of a patch grid: offset(q, r) = (y_q - y_r + gh - 1) (2 gw - 1) + (x_q - x_r + gw - 1).

    Args:
        grid: patch rows and columns.
        prefix: tokens of a frame before its patches.
    """

    def __init__(self, grid: tuple[int, int], prefix: int = 1):
        super().__init__()
        self.grid, self.prefix = grid, prefix
        self.tiles = _tiles(grid)
        for i, tile in enumerate(self.tiles):
            self.register_buffer(f"rows_{i}", tile.rows, persistent=False)

    @property
    def size(self) -> int:
        """Rows of a table: (2 gh - 1) (2 gw - 1)."""
        return (2 * self.grid[0] - 1) * (2 * self.grid[1] - 1)

    def add_(self, memory_BTLD: Tensor, first: int, attention_BTPP: Tensor, table_RD: Tensor) -> Tensor:
        """Add the mix to the patches of frames `first`.. of the memory, in place; the tokens before them stay.

        Args:
            memory_BTLD: tokens to add to.
            first: index of the first frame that has a neighbor: 1 towards the past, 0 towards the future.
            attention_BTPP: (B, T-1, P, P) affinity of neighboring frames.
            table_RD: (R, D) table of relative positions.
        """
        device = table_RD.device.type
        rows = [getattr(self, f"rows_{i}") for i in range(len(self.tiles))]
        autocast = device in ("cpu", "cuda", "mps", "xpu") and torch.is_autocast_enabled(device)
        if autocast:
            table_RD = table_RD.to(torch.get_autocast_dtype(device))
        attention_BTPP = attention_BTPP.to(table_RD.dtype)
        with torch.autocast(device, enabled=False) if autocast else contextlib.nullcontext():
            plan = (first, self.prefix, self.grid, self.tiles)
            return _AddMix.apply(memory_BTLD, attention_BTPP, table_RD, plan, *rows)


_Grid = tuple[int, int]


class _Tile(NamedTuple):
    top: int
    left: int
    height: int
    width: int
    window: tuple[int, int]  # rows and columns of the table that the tile reads
    rows: Tensor  # their indices in the flat table

    def of(self, x: Tensor) -> Tensor:
        """The tile's queries of (B, T, gh, gw, ...), as a view."""
        return x[:, :, self.top : self.top + self.height, self.left : self.left + self.width]


def _tiles(grid: tuple[int, int]) -> list[_Tile]:
    (gh, gw), tiles = grid, []
    for top in range(0, gh, TILE[0]):
        for left in range(0, gw, TILE[1]):
            height, width = min(TILE[0], gh - top), min(TILE[1], gw - left)
            window = (gh + height - 1, gw + width - 1)
            y, x = torch.arange(window[0]) + top, torch.arange(window[1]) + left
            rows = (y[:, None] * (2 * gw - 1) + x[None]).flatten()
            tiles.append(_Tile(top, left, height, width, window, rows))
    return tiles


def _spread(flipped: Tensor, tile: _Tile) -> tuple[Tensor, Tensor]:
    """Make room for a tile's attention in its window: the (N queries, window) matrix, and the view that holds it."""
    (B, T, gh, gw), (rows, cols) = flipped.shape[:2] + flipped.shape[4:], tile.window
    laid = flipped.new_zeros(B, T, tile.height, tile.width, rows, cols)
    step, queries = rows * cols, tile.height * tile.width
    # Query (i, j) of the tile sees its keys at rows i.. and columns j.. of the window: a diagonal view.
    view = laid.as_strided(
        (B, T, tile.height, tile.width, gh, gw),
        (T * queries * step, queries * step, tile.width * step + cols, step + 1, cols, 1),
    )
    return laid.view(B * T * queries, step), view


class _AddMix(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        memory: Tensor,
        attention: Tensor,
        table: Tensor,
        plan: tuple[int, int, _Grid, list[_Tile]],
        *rows: Tensor,
    ) -> Tensor:
        first, prefix, grid, tiles = plan
        flipped = attention.unflatten(3, grid).unflatten(2, grid).flip(4, 5)
        target = memory[:, first : first + flipped.shape[1], prefix:].unflatten(2, grid)
        for tile, index in zip(tiles, rows):
            laid, view = _spread(flipped, tile)
            view.copy_(tile.of(flipped))
            there = tile.of(target)
            there += (laid @ table[index]).view(there.shape)
        ctx.save_for_backward(attention, table, *rows)
        ctx.plan = plan
        ctx.mark_dirty(memory)
        return memory

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        attention, table, *rows = ctx.saved_tensors
        first, prefix, grid, tiles = ctx.plan
        flipped = attention.unflatten(3, grid).unflatten(2, grid).flip(4, 5)
        sent = grad[:, first : first + flipped.shape[1], prefix:].unflatten(2, grid)
        to_attention = torch.empty_like(flipped) if ctx.needs_input_grad[1] else None
        to_table = torch.zeros_like(table) if ctx.needs_input_grad[2] else None
        for tile, index in zip(tiles, rows):
            sent_tile = tile.of(sent).reshape(-1, table.shape[1]).to(table.dtype)
            laid, view = _spread(flipped, tile)
            if to_table is not None:
                view.copy_(tile.of(flipped))
                to_table.index_add_(0, index, laid.T @ sent_tile)
            if to_attention is not None:
                torch.mm(sent_tile, table[index].T, out=laid)
                tile.of(to_attention).copy_(view)
        if to_attention is not None:
            to_attention = to_attention.flip(4, 5).reshape(attention.shape)
        return (grad, to_attention, to_table, None, *(None for _ in rows))

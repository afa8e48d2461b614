"""Blend a fine-tuned checkpoint back towards the network it started from.

    python -m models.training.blend --config … --checkpoint last.pt --share 0.4 --out runs/blend.pt

A short fine-tune on new material gains there and forgets elsewhere; the straight line between the
two sets of weights often holds a network better than both (Wortsman et al., "Robust fine-tuning of
zero-shot models", CVPR 2022). Choose the share on the held-out pool.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .config import load_config
from .network import MattingNetwork, initial_network


def blend(start: MattingNetwork, tuned: MattingNetwork, share: float) -> MattingNetwork:
    """Move ``start`` by ``share`` (0..1) of the way to ``tuned``, in place."""
    with torch.no_grad():
        for own, other in zip(start.parameters(), tuned.parameters(), strict=True):
            own.lerp_(other, share)
    return start


def main() -> None:
    """Write the blend as a checkpoint that a run's ``start`` can name."""
    parser = argparse.ArgumentParser(description="Blend a checkpoint with its own start.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--checkpoint", default="last.pt")
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--seed", type=int, help="of the run that grew the starter, where it is not this one")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.config)
    tuned = MattingNetwork(config.network)
    state = torch.load(config.out / args.checkpoint, map_location="cpu", weights_only=True)
    tuned.load_state_dict(state["average"])
    seed = config.seed if args.seed is None else args.seed
    mixed = blend(initial_network(config.network, config.starter, seed), tuned, args.share)
    torch.save({"average": mixed.state_dict(), "total": state["total"]}, args.out)


if __name__ == "__main__":
    main()

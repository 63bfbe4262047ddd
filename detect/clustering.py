"""Relatedness -> families: the connected parts of the graph of related models."""

from __future__ import annotations

import networkx as nx
from torch import Tensor

from lineage.detect.signals.shared_start import APART

RELATED = 0.12  # excess cosine of matching units; bench/NOTES.md says where families and strangers lie


def families(relatedness: Tensor, shared: Tensor, related: float = RELATED) -> list[list[int]]:
    """
    Args:
        relatedness: (m, m), symmetric; shared: (m, m), see signals/shared_start.py.
    Returns:
        Every model in exactly one family, families and members in rising order; a family of one is a model without relatives.
    """
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(relatedness.shape[0]))
    graph.add_edges_from(((relatedness >= related) & (shared >= APART)).triu(1).nonzero().tolist())
    return sorted(sorted(members) for members in nx.connected_components(graph))

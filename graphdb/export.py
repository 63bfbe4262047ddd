"""The graph in formats that other programs read: GraphML, GEXF, node-link JSON, CSV for `neo4j-admin database import`, DOT, Mermaid."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lineage.graphdb.records import Row
from lineage.graphdb.schema import ACCEPTED, SAME_FILES, SAME_FILES_WORD, Relation, chance, printable
from lineage.graphdb.statements import statement

if TYPE_CHECKING:
    import networkx as nx

    from lineage.graphdb.graph import LineageGraph

ARRAY_DELIMITER = "\x1f"  # a claim may hold any printable character
_NO_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
NUMBERS = {"downloads": "long", "probability": "double", "answer_probability": "double", "share": "double"}


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """How much was written."""

    models: int
    edges: int


@dataclass(frozen=True, slots=True)
class Slice:
    """What is exported: all models, those of one architecture or only some (hub_ids), and which relations."""

    store: LineageGraph
    signature: str | None
    relations: tuple[Relation, ...]
    only: frozenset[str] | None = None

    def models(self) -> Iterator[Row]:
        """Properties of each model."""
        for row in self.store.stream(statement("all_models")):
            if self.only is not None and row["props"]["hub_id"] not in self.only:
                continue
            if self.signature is None or row["props"].get("signature") == self.signature:
                yield row["props"]

    def edges(self, known: set[str]) -> Iterator[tuple[Relation, Row]]:
        """(type, row) of each edge between known models."""
        for relation in self.relations:
            for row in self.store.stream(statement("all_edges", relation)):
                if row["child"] in known and row["parent"] in known:
                    yield relation, row


def export_graph(
    store: LineageGraph,
    form: str,
    target: Path | IO[str],
    *,
    signature: str | None = None,
    everything: bool = False,
    only: Iterable[str] | None = None,
) -> ExportCounts:
    """Writes the graph.

    Args:
        form: `graphml`, `gexf`, `node-link`, `csv`, `dot` or `mermaid`.
        target: a file or an open one; for `csv` a folder.
        signature: only models of this architecture.
        everything: claims, ties and history too, not only accepted edges.
        only: hub_ids of the models to be written; None for all.
    """
    models = frozenset(only) if only is not None else None
    chosen = Slice(store, signature, tuple(Relation) if everything else ACCEPTED, models)
    if form == "csv":
        assert isinstance(target, Path)
        return _csv(chosen, target)
    if isinstance(target, Path):
        with target.open("w", encoding="utf-8") as file:
            return _write(chosen, form, file)
    return _write(chosen, form, target)


def _write(chosen: Slice, form: str, file: IO[str]) -> ExportCounts:
    writers: dict[str, Callable[[nx.MultiDiGraph[str], IO[str]], None]] = {
        "graphml": _graphml,
        "gexf": _gexf,
        "node-link": _node_link,
        "dot": write_dot,
        "mermaid": write_mermaid,
    }
    graph = _networkx(chosen)
    writers[form](graph, file)
    return ExportCounts(graph.number_of_nodes(), graph.number_of_edges())


def _networkx(chosen: Slice) -> nx.MultiDiGraph[str]:
    """Nodes named by hub_id, edges from child to parent; only scalars as attributes, moments and lists as text; `edge` is the type."""
    import networkx as nx

    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    for props in sorted(chosen.models(), key=lambda props: str(props["hub_id"])):
        graph.add_node(
            props["hub_id"], **{name: _scalar(value) for name, value in sorted(props.items()) if name != "hub_id"}
        )
    edges = sorted(
        ((str(relation), row) for relation, row in chosen.edges(set(graph.nodes))),
        key=lambda pair: (pair[1]["child"], pair[1]["parent"], pair[0], str(pair[1]["props"].get("superseded_at", ""))),
    )
    for relation, row in edges:
        attributes = {name: _scalar(value) for name, value in sorted(row["props"].items())}
        graph.add_edge(row["child"], row["parent"], edge=relation, **attributes)
    return graph


def _graphml(graph: nx.MultiDiGraph[str], file: IO[str]) -> None:
    import networkx as nx

    _make_fit_for_xml(graph)
    file.writelines(line + "\n" for line in nx.generate_graphml(graph))


def _gexf(graph: nx.MultiDiGraph[str], file: IO[str]) -> None:
    import networkx as nx

    _make_fit_for_xml(graph)
    nx.set_node_attributes(graph, nx.get_node_attributes(graph, "repo_id"), "label")
    file.writelines(line + "\n" for line in nx.generate_gexf(graph))


def _make_fit_for_xml(graph: nx.MultiDiGraph[str]) -> None:
    """XML has no way to hold some characters, such as most control characters: they become escapes, as in a terminal."""
    attributes = [data for _, data in graph.nodes(data=True)] + [data for _, _, data in graph.edges(data=True)]
    for data in attributes:
        for name, value in data.items():
            if isinstance(value, str) and _NO_XML.search(value):
                data[name] = _NO_XML.sub(lambda found: repr(found[0])[1:-1], value)


def _node_link(graph: nx.MultiDiGraph[str], file: IO[str]) -> None:
    import networkx as nx

    json.dump(nx.node_link_data(graph, edges="edges"), file, ensure_ascii=False)
    file.write("\n")


def write_dot(graph: nx.MultiDiGraph[str], file: IO[str]) -> None:
    """Arrows run from child to parent; parents are drawn above."""
    file.write("digraph lineage {\n  rankdir=BT;\n  node [shape=box];\n")
    for hub_id, data in graph.nodes(data=True):
        file.write(f"  {_quoted(hub_id)} [label={_quoted(data['repo_id'])}];\n")
    for child, parent, data in graph.edges(data=True):
        file.write(f"  {_quoted(child)} -> {_quoted(parent)} [label={_quoted(_edge_label(data))}];\n")
    file.write("}\n")


def write_mermaid(graph: nx.MultiDiGraph[str], file: IO[str]) -> None:
    """Nodes are numbered: Mermaid's identifiers take no names of the Hub."""
    number = {hub_id: f"n{index}" for index, hub_id in enumerate(graph.nodes)}
    file.write("graph BT\n")
    for hub_id, data in graph.nodes(data=True):
        file.write(f'  {number[hub_id]}["{_mermaid_text(data["repo_id"])}"]\n')
    for child, parent, data in graph.edges(data=True):
        file.write(f'  {number[child]} -->|"{_mermaid_text(_edge_label(data))}"| {number[parent]}\n')


def _edge_label(data: dict[str, Any]) -> str:
    probability = data.get("probability")
    word = SAME_FILES_WORD if data["edge"] == SAME_FILES else Relation(data["edge"]).word
    said = f"{word} {chance(probability)}" if probability is not None else word
    return f"{said}, its {', '.join(json.loads(data['parts']))}" if data.get("parts") else said


def _quoted(text: str) -> str:
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _mermaid_text(text: str) -> str:
    return "".join(
        character if character.isalnum() or character in " -_./" else f"#{ord(character)};"
        for character in printable(text)
    )


def _csv(chosen: Slice, folder: Path) -> ExportCounts:
    """`models.csv` and `edges.csv` with the headers that `neo4j-admin database import full --array-delimiter=U+001F` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    models = list(chosen.models())
    names = sorted({name for props in models for name in props} - {"hub_id"})
    with (folder / "models.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["hub_id:ID", *(_typed(name, models) for name in names), ":LABEL"])
        for props in models:
            writer.writerow([props["hub_id"], *(_cell(props.get(name)) for name in names), "Model"])
    edges = list(chosen.edges({props["hub_id"] for props in models}))
    properties = [row["props"] for _, row in edges]
    names = sorted({name for props in properties for name in props})
    with (folder / "edges.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([":START_ID", ":END_ID", *(_typed(name, properties) for name in names), ":TYPE"])
        for relation, row in edges:
            cells = [_cell(row["props"].get(name)) for name in names]
            writer.writerow([row["child"], row["parent"], *cells, str(relation)])
    return ExportCounts(len(models), len(edges))


def _typed(name: str, rows: list[Row]) -> str:
    """A column's header with the type that the import needs."""
    value = next((row[name] for row in rows if row.get(name) is not None), None)
    if isinstance(value, datetime):
        return f"{name}:datetime"
    if isinstance(value, list):
        return f"{name}:string[]"
    return f"{name}:{NUMBERS[name]}" if name in NUMBERS else name


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return ARRAY_DELIMITER.join(str(item) for item in value)
    return value.isoformat() if isinstance(value, datetime) else value


def _scalar(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value

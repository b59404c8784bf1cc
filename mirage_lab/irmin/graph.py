"""graph: the history of branches as a networkx graph, or as a dot file."""

from __future__ import annotations

from collections.abc import Iterable

import networkx

from mirage_lab.irmin.commit import ancestors
from mirage_lab.irmin.store import Repo

__all__ = ["dot", "history_graph"]

MOST = 1_000


def history_graph(repo: Repo, branches: Iterable[str] | None = None, most: int = MOST) -> networkx.DiGraph:
    """Return the newest `most` commits: nodes by name with `message`, `date`, `branches`; edges from a commit to its parents."""
    chosen = sorted(repo.heads) if branches is None else [branch for branch in branches if branch in repo.heads]
    graph = networkx.DiGraph()
    heads = [repo.heads[branch] for branch in chosen]
    for commit in ancestors(*dict.fromkeys(heads), most=most):
        told = [branch for branch in chosen if repo.heads[branch] is commit]
        info = commit.info
        graph.add_node(commit.name.hex(), message=info.message, author=info.author, date=info.date, generation=commit.generation, branches=told)
        graph.add_edges_from((commit.name.hex(), parent.name.hex()) for parent in commit.parents)
    graph.remove_nodes_from([name for name, data in graph.nodes(data=True) if not data])
    return graph


def dot(repo: Repo, branches: Iterable[str] | None = None, most: int = MOST) -> str:
    """Return the history for Graphviz."""
    graph = history_graph(repo, branches, most)
    lines = ["digraph irmin {", "  rankdir=BT; node [shape=box, style=rounded, fontname=Helvetica];"]
    for name, data in graph.nodes(data=True):
        lines.append(f'  "{name[:10]}" [label={_quoted(name[:7] + " " + data["message"].partition(chr(10))[0][:60])}];')
        lines += [f"  {_quoted(branch)} [shape=note]; {_quoted(branch)} -> \"{name[:10]}\" [style=dashed];" for branch in data["branches"]]
    lines += [f'  "{one[:10]}" -> "{other[:10]}";' for one, other in graph.edges]
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\0", "?") + '"'

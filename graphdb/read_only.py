"""Does a statement write, or reach outside of the graph? For an engine that does not refuse it by itself: ArcadeDB's Bolt server writes
in a reading transaction, and its Cypher reads files.

The answer errs on the safe side: a harmless statement that names a column `create` is refused as well. The store also rolls
every reading transaction on such an engine back, so that what slips through changes nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache

# comments, strings and quoted names: nothing in them is a keyword
OPAQUE = re.compile(r"/\*.*?\*/|//[^\n]*|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:``|[^`])*`", re.DOTALL)
WRITING = re.compile(
    r"(?<![.:$\w])(?:CREATE|MERGE|SET|DELETE|DETACH|REMOVE|DROP|FOREACH|INSERT|ALTER|LOAD|IMPORT|EXPORT|GRANT|REVOKE|DENY"
    r"|IN\s+(?:\d+\s+CONCURRENT\s+)?TRANSACTIONS|USE|PROFILE)(?![\w])",
    re.IGNORECASE,
)
CALLED = re.compile(r"(?<![.\w])CALL\s+([\w.]+)", re.IGNORECASE)
READING_PROCEDURES = (
    "db.labels",
    "db.propertykeys",
    "db.relationshiptypes",
    "db.schema.visualization",
    "dbms.components",
)
# what the engine's Cypher and its other languages read files and addresses with, or write them
OUTSIDE = re.compile(
    r"(?<![.:$\w])(?:LOAD\s+(?:CSV|FROM|EXTENSION)|COPY\s+(?:\(|[\w.]+\s+(?:FROM|TO))|(?:IMPORT|EXPORT|BACKUP|RESTORE)\s+DATABASE)(?![\w])"
    r"|^\s*(?:ATTACH|DETACH\s+DATABASE|INSTALL|UNINSTALL|LOAD|IMPORT|EXPORT|COPY)(?![\w])",
    re.IGNORECASE,
)


@lru_cache(maxsize=256)
def reaches_outside(cypher: str) -> bool:
    """True where a statement reads or writes, or may, what lies outside of the graph: files, addresses, extensions."""
    bare = OPAQUE.sub(" ", cypher)
    return bool(OUTSIDE.search(bare)) or "\\u" in bare or _calls_unknown(bare)


@lru_cache(maxsize=256)
def may_write(cypher: str) -> bool:
    """True where a statement writes or may write."""
    bare = OPAQUE.sub(" ", cypher)
    if WRITING.search(bare) or "\\u" in bare:
        return True
    return _calls_unknown(bare)


def _calls_unknown(bare: str) -> bool:
    return any(name.lower() not in READING_PROCEDURES for name in CALLED.findall(bare))

"""The document as rows for people."""

from __future__ import annotations

from typing import Any

Row = dict[str, str]


def speeds(document: dict[str, Any], network: str) -> list[Row]:
    """One row for each variant, one column for each batch size: median ms for one scan."""
    rows: dict[tuple[str, int], Row] = {}
    for result in _of(document["results"], network):
        row = rows.setdefault((result["name"], result["threads"]), _head(result))
        row[f"{result['batch']}"] = f"{result['ms_per_scan']['median']:.2f}"
    for result in _of(document["results"], network):
        if result["batch"] == 1:
            rows[result["name"], result["threads"]] |= _of_one_scan(result)
    return [row | _most_slices(document, network, row) for row in rows.values()]


def _of_one_scan(result: dict[str, Any]) -> Row:
    """What is said of single scans only."""
    told = {"core-ms": f"{result['processor_ms_per_scan']['median']:.2f}"}
    if "ms_per_slice" in result:
        told["ms/slice"] = f"{result['ms_per_slice']['median']:.2f}"
    if "times_as_fast_as_torch" in result:
        ratio = result["times_as_fast_as_torch"]
        told["× torch, batch 1"] = "{median:.2f} ({least:.2f}–{most:.2f})".format_map(ratio)
    return told


def _most_slices(document: dict[str, Any], network: str, row: Row) -> Row:
    """Slices a second at the batch size that gives most."""
    rates = [
        result["slices_per_second"]["median"]
        for result in _of(document["results"], network)
        if _head(result).items() <= row.items() and "slices_per_second" in result
    ]
    return {"most slices/s": f"{max(rates):.0f}"} if rates else {}


def openings(document: dict[str, Any], network: str) -> list[Row]:
    """One row for each variant: seconds to import and open, memory, least cosine."""
    cosines = {
        (each["name"], each["threads"]): f"{each['least_cosine']:.6f}"
        for each in _of(document["parity"], network)
    }
    return [
        _head(each)
        | {
            "import s": f"{each['import_seconds']['median']:.2f}",
            "open to first s": f"{each['open_to_first_encoding_seconds']['median']:.3f}",
            "peak MB": f"{each['peak_rss_mb']:.0f}",
            "least cosine": cosines.get((each["name"], each["threads"]), ""),
        }
        for each in _of(document["openings"], network)
    ]


def left_out(document: dict[str, Any]) -> list[str]:
    """One line for each network and reason, with what it kept out."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in document["left_out"]:
        words = f"{row['name']} ({row['threads']} threads)"
        reasons.setdefault((row["network"], row["why"]), []).append(words)
    return [
        f"Left out of {network}, {why}: {', '.join(names)}"
        for (network, why), names in reasons.items()
    ]


def _of(rows: list[dict[str, Any]], network: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["network"] == network]


def _head(row: dict[str, Any]) -> Row:
    return {"runtime": row["name"], "threads": f"{row['threads']}"}

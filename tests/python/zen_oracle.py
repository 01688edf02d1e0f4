"""Evaluates JDM files with zen-engine: what `./x prove rules` compares modules with.

Reads one JSON object a line: {"graph": {...}, "contexts": [{...}, ...]}. Answers each with one line: a list with an object
for every context, {"result": ..., "fired": {table: [row, ...]}} or {"error": "..."}. `fired` has every table that was
reached.
"""

import json
import sys

import zen


def fired(graph, trace):
    """The rows that fired, by the name of their table."""
    rows = {}
    for node in graph["nodes"]:
        if node["type"] == "decisionTableNode" and node["id"] in trace:
            data = trace[node["id"]]["traceData"]
            hits = data if isinstance(data, list) else [data] if data else []
            rows[node["name"]] = [hit["index"] for hit in hits]
    return rows


def main():
    engine = zen.ZenEngine()
    for line in sys.stdin:
        case = json.loads(line)
        decision = engine.create_decision(json.dumps(case["graph"]))
        answers = []
        for context in case["contexts"]:
            try:
                answer = decision.evaluate(context, {"trace": True})
                answers.append({"result": answer["result"], "fired": fired(case["graph"], answer["trace"])})
            except Exception as error:  # zen raises plain exceptions
                answers.append({"error": str(error).splitlines()[0][:200]})
        print(json.dumps(answers), flush=True)


main()

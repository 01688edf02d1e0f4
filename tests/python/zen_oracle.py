"""Evaluates JDM files with zen-engine: what `./x prove rules` compares modules with.

Reads one JSON object a line: {"graph": {...}, "contexts": [{...}, ...]}. Answers each with one line: a list with an object
for every context, {"result": ...} or {"error": "..."}.
"""

import json
import sys

import zen


def main():
    engine = zen.ZenEngine()
    for line in sys.stdin:
        case = json.loads(line)
        decision = engine.create_decision(json.dumps(case["graph"]))
        answers = []
        for context in case["contexts"]:
            try:
                answers.append({"result": decision.evaluate(context)["result"]})
            except Exception as error:  # zen raises plain exceptions
                answers.append({"error": str(error)[:200]})
        print(json.dumps(answers), flush=True)


main()

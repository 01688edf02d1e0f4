"""Holds replies against OFREP's published description: openapi.yaml and replies.json, a list of {path, status, body}, are the
arguments. Exits 1 with every reply that is not as described.

One thing is read otherwise than it stands there: the kinds of a flag's value are `oneOf`, though the one without a value
(`codeDefaultFlag`) allows everything and every integer is a number, so that hardly any flag would be as described. Here a flag
with a value must be one of the kinds that have one, at least, and a flag without one is a `codeDefaultFlag`."""

import json
import sys

import yaml
from jsonschema import Draft202012Validator

with open(sys.argv[1], encoding="utf-8") as file:
    described = yaml.safe_load(file)
with open(sys.argv[2], encoding="utf-8") as file:
    replies = json.load(file)

schemas = described["components"]["schemas"]
of_value, kinds = schemas["evaluationSuccess"]["allOf"]
with_value = [kind for kind in kinds["oneOf"] if not kind["$ref"].endswith("/codeDefaultFlag")]
assert len(with_value) == len(kinds["oneOf"]) - 1, "the kinds of a flag's value are others than this was written for"
schemas["evaluationSuccess"]["allOf"] = [
    of_value,
    {"if": {"required": ["value"]}, "then": {"anyOf": with_value}},
]

wrong = []
for reply in replies:
    answer = described["paths"][reply["path"]]["post"]["responses"].get(str(reply["status"]))
    if answer is None:
        wrong.append(f"{reply['path']}: status {reply['status']} is not described")
        continue
    content = answer.get("content", {}).get("application/json")
    if content is None:
        continue
    schema = {"$ref": content["schema"]["$ref"], "components": described["components"]}
    for error in Draft202012Validator(schema).iter_errors(reply["body"]):
        wrong.append(f"{reply['path']} {reply['status']}: {error.json_path}: {error.message}")
if wrong:
    sys.exit("\n".join(wrong))
if not replies:
    sys.exit("no replies")

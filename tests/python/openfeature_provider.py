"""OpenFeature's own OFREP provider for Python against a node: its address is the argument. Exits 1 with what is wrong."""

import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

api.set_provider(OFREPProvider(sys.argv[1]))
client = api.get_client()
person = EvaluationContext("u-1", {"session": "s-1", "cart_value": 20.0, "provoke": 1})


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r}, expected {expected!r}")


def flag(details, value, reason, variant):
    told = (details.value, details.reason, details.variant, details.error_code)
    check(details.flag_key, told, (value, reason, variant, None))
    return details.flag_metadata


flag(client.get_boolean_details("banner", False, person), True, Reason.STATIC, "on")
flag(client.get_integer_details("page-size", 1, person), 24, Reason.STATIC, "some")
flag(client.get_float_details("free-from", 1.0, person), 15.0, Reason.STATIC, "low")
flag(client.get_string_details("theme", "", person), "light", Reason.STATIC, "light")
metadata = flag(client.get_object_details("hero", {}, person), {"banner": "vip.svg"}, Reason.TARGETING_MATCH, "vip")
check("a decision's id", len(metadata["decision_id"]), 36)
check("what decided", metadata["reason"], "SCORED")
arm = flag(client.get_object_details("greeting", {}, person), {"banner": "vip.svg"}, Reason.SPLIT, "vip")["arm"]
check("an arm", arm in ("a", "b"), True)
flag(client.get_object_details("broken", {}, person), {"banner": "plain.svg", "rows": [1, 2]}, Reason.UNKNOWN, "plain")
# Nothing was chosen: the default of the code counts, and it is no error.
flag(client.get_string_details("none", "code", person), "code", Reason.DISABLED, "")
# Without a context at all.
flag(client.get_boolean_details("banner", False), True, Reason.STATIC, "on")


def wrong(details, default, code):
    check(details.flag_key, (details.value, details.error_code), (default, code))


wrong(client.get_string_details("nothing", "code", person), "code", ErrorCode.FLAG_NOT_FOUND)
wrong(client.get_string_details("plp-rank", "code", person), "code", ErrorCode.FLAG_NOT_FOUND)
wrong(client.get_object_details("hero", {}, EvaluationContext()), {}, ErrorCode.TARGETING_KEY_MISSING)
wrong(client.get_object_details("hero", {}, EvaluationContext("u-1", {"cart_value": "x"})), {}, ErrorCode.INVALID_CONTEXT)
wrong(client.get_string_details("banner", "code", person), "code", ErrorCode.TYPE_MISMATCH)

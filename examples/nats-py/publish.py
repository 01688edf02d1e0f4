"""Writes rows of features with the public NATS client: python publish.py nats://127.0.0.1:4222 user < rows.jsonl

A line is an object: the values by feature name, and `_key`, a text, or a list of two for a pair."""

import asyncio
import base64
import json
import sys

import nats
from nats.js.errors import BucketNotFoundError


def key(entity):
    parts = entity if isinstance(entity, list) else [entity]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


async def main(url, view):
    client = await nats.connect(url)
    try:
        stream = client.jetstream()
        try:
            bucket = await stream.key_value(f"features_{view}")
        except BucketNotFoundError:
            bucket = await stream.create_key_value(bucket=f"features_{view}", history=1)
        for line in sys.stdin:
            row = json.loads(line)
            await bucket.put(key(row.pop("_key")), json.dumps(row).encode())
    finally:
        await client.close()


asyncio.run(main(*sys.argv[1:]))

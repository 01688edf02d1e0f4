// The engine that asks a node. Knows the shape of the answer and nothing of who reads it.

import type { DecideAnswer, Engine } from "./engine.js";
import { json, type Transport } from "./transport.js";

export function remote(transport: Transport, path: string): Engine {
  return {
    decide: (request) => transport.send(path, { body: JSON.stringify(request) }, json("decisions")) as Promise<DecideAnswer>,
    // A node knows by itself.
    update: async () => {},
    close: () => {},
  };
}

// A page's engine against a real node, without the client around it: what it decided, what became of its records, and how long a
// decision takes. The same in Node.js and in a page, whose scripts stand beside this one and in `browser`.

import { createEngine } from "../../../sdk-js/src/local.js";
import type { DecideRequest, EngineRequest } from "../../../sdk-js/src/engine.js";

interface Task {
  /** Where the node answers. */
  base: string;
  /** Who looks at the page. */
  subject?: string;
  session?: string;
  /** What is done, in this order. */
  steps: ("decide" | "records" | "again" | "update")[];
  request: DecideRequest;
  /** How often it decides for the time, and so many between two looks at the clock, which is coarse in a page. */
  repeat?: number;
  together?: number;
}

/** Does what the task says, with the engine's file `wasm`. */
export async function local(task: Task, wasm: BufferSource | string): Promise<unknown> {
  const requests: string[] = [];

  async function send(name: string, init: EngineRequest = {}): Promise<Response> {
    const url = new URL(`/v1/browser/${name}`, task.base);
    for (const [key, value] of Object.entries({ v: "1", ...init.query })) url.searchParams.set(key, value);
    const method = init.body === undefined ? "GET" : "POST";
    requests.push(`${method} ${url.pathname}`);
    const response = await fetch(url, { method, ...(init.body === undefined ? {} : { body: init.body }) });
    if (!response.ok) throw new Error(`${url.pathname}: ${response.status} ${await response.text()}`);
    return response;
  }

  const { subject, session } = task;
  const who = { ...(subject === undefined ? {} : { subject }), ...(session === undefined ? {} : { session }) };
  const early = send("release", { query: { ...who, inline: "1" } });
  let made: string[] = [];
  const record = (text: string) => void made.push(JSON.parse(text));
  const engine = await createEngine({ send, early, wasm, record, ...who });
  const told: unknown[] = [];
  let sent: string[] = [];
  for (const step of task.steps) {
    if (step === "decide") {
      const before = requests.length;
      told.push({ answer: await engine.decide(task.request), requests: requests.slice(before) });
    } else if (step === "update") {
      await engine.update();
    } else {
      if (step === "records") [sent, made] = [made, []];
      const body = JSON.stringify({ records: sent, sentAt: new Date().toISOString() });
      told.push({ records: await (await send("records", { body })).json() });
    }
  }
  const times: number[] = [];
  const together = task.together ?? 1;
  for (let at = 0; at < (task.repeat ?? 0); at += together) {
    const before = performance.now();
    for (let one = 0; one < together; one++) {
      if (engine.decide(task.request) instanceof Promise) throw new Error("not decided at once");
    }
    times.push(((performance.now() - before) * 1000) / together);
    made = [];
  }
  times.sort((a, b) => a - b);
  const quantile = (q: number) => times[Math.floor(times.length * q)] ?? null;
  const time = { p50_us: quantile(0.5), p90_us: quantile(0.9), p99_us: quantile(0.99) };
  return { told, sent, requests, ...(task.repeat ? { time } : {}) };
}

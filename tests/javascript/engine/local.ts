// A page's engine against a real node, without the client around it: prints what it decided, what became of its records, and how long
// a decision takes. One argument, JSON: where the node answers, the engine's file, who looks at the page, what is asked, how often for
// the time; `steps` are done in their order: "decide", "records", "update".

import { readFileSync } from "node:fs";
import { createEngine } from "../../../sdk-js/src/local.js";
import type { DecideRequest, EngineRequest } from "../../../sdk-js/src/engine.js";

interface Task {
  base: string;
  wasm: string;
  subject?: string;
  session?: string;
  steps: ("decide" | "records" | "again" | "update")[];
  request: DecideRequest;
  repeat?: number;
}

const task = JSON.parse(process.argv[2]!) as Task;
const requests: string[] = [];

async function request(name: string, init: EngineRequest = {}): Promise<Response> {
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
const started = performance.now();
let made: string[] = [];
const record = (text: string) => void made.push(JSON.parse(text));
const engine = await createEngine({ request, wasm: readFileSync(task.wasm), record, ...who });
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
    told.push({ records: await (await request("records", { body })).json() });
  }
}
const times: number[] = [];
for (let at = 0; at < (task.repeat ?? 0); at++) {
  const before = performance.now();
  const answer = engine.decide(task.request);
  times.push((performance.now() - before) * 1000);
  if (answer instanceof Promise) throw new Error("not decided at once");
  made = [];
}
times.sort((a, b) => a - b);
const quantile = (q: number) => times[Math.floor(times.length * q)] ?? null;
const time = { p50_us: quantile(0.5), p90_us: quantile(0.9), p99_us: quantile(0.99), first_ms: performance.now() - started };
console.log(JSON.stringify({ told, sent, requests, ...(task.repeat ? { time } : {}) }));

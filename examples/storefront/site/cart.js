// The cart: what somebody means to buy, kept in this browser. Knows nothing of decisions.

import { find } from "./catalogue.js";

const KEY = "fieldfare:cart";
export const FREE_FROM = 80;
export const POST = 6;

function read() {
  try {
    const lines = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(lines) ? lines.filter((line) => find(line.id) && line.count > 0) : [];
  } catch {
    return [];
  }
}

function write(next) {
  try {
    localStorage.setItem(KEY, JSON.stringify(next));
  } catch {
    // Where nothing may be kept, the cart lives as long as the page.
  }
  kept = next;
  for (const listener of listeners) listener();
}

let kept = read();
const listeners = new Set();

export const lines = () => kept.map((line) => ({ ...line, product: find(line.id) })).filter((line) => line.product);
export const count = () => kept.reduce((sum, line) => sum + line.count, 0);
export const total = () => lines().reduce((sum, line) => sum + line.count * line.product.price, 0);
export const onCart = (listener) => listeners.add(listener);

/** Sets how many of a product; none takes it out. */
export function put(id, pieces) {
  const others = kept.filter((line) => line.id !== id);
  write(pieces > 0 ? [...others, { id, count: Math.min(pieces, 20) }] : others);
}

export const add = (id) => put(id, (kept.find((line) => line.id === id)?.count ?? 0) + 1);
export const clear = () => write([]);

// Another tab may have changed it.
addEventListener("storage", (event) => {
  if (event.key === KEY) write(read());
});

// Paths and what they show, from pages.json, which the server reads, too.

const start = JSON.parse(document.getElementById("decisions").textContent);

export const routes = start.routes;

/** The route of a path and what its `:names` stand for; nothing when it is none of the shop's. */
export function match(path) {
  for (const route of routes) {
    const pattern = route.path.split("/");
    const parts = path.split("/");
    if (pattern.length !== parts.length) continue;
    const named = {};
    if (pattern.every((part, at) => (part.startsWith(":") ? ((named[part.slice(1)] = parts[at]), true) : part === parts[at]))) return { route, named };
  }
  return undefined;
}

// The products as the server gave them, and which of them a page is about. Must agree with `Candidates` of src/page.rs.

export const EXTRA_AT_MOST = 60;

const start = JSON.parse(document.getElementById("decisions").textContent);

let products = new Map(start.catalogue.map((product) => [product.id, product]));

export const find = (id) => products.get(id);
export const all = () => [...products.values()];

/** Stock changes while people look. */
export async function refreshCatalogue() {
  try {
    const answer = await fetch("/catalogue.json");
    if (answer.ok) products = new Map((await answer.json()).map((product) => [product.id, product]));
  } catch {
    // What is known goes on; the next page asks again.
  }
}

/** The ids that a page names, by the word of pages.json. */
export function candidates(word, { category, item }) {
  const about = item && find(item);
  const has = {
    category: (product) => product.category === category,
    "goes-with": (product) => about && product.category !== about.category && product.family === about.family,
    extras: (product) => product.price <= EXTRA_AT_MOST,
  }[word];
  return all().filter(has).map((product) => product.id);
}

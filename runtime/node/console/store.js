// What stays in this tab: a key, and what was typed into the playground. Where nothing may be kept, it lives as long as the page.

const here = new Map();

export const store = {
  get(name) {
    try { return sessionStorage.getItem(name); } catch { return here.get(name) ?? null; }
  },
  set(name, value) {
    try { sessionStorage.setItem(name, value); } catch { here.set(name, value); }
  },
};

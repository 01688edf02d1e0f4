// Anti-flicker: hides chosen elements until the page has shown what was decided, and no longer than a hard limit. Never the whole page,
// and without inline styles, so that a strict Content-Security-Policy lets it. Stands alone: it runs before anything else is loaded.

/** Shows what was hidden: all of it, or what `selector` was given for. */
export type Reveal = (selector?: string) => void;

declare global {
  interface Window {
    /** Left by the script element; not there where it was blocked. */
    selvedgeReveal?: Reveal;
  }
}

/**
 * Hides what `selectors` match, now and later, without moving anything on the page. After `timeoutMs` all of it is seen, whatever
 * happened.
 */
export function hide(selectors: string | readonly string[], timeoutMs = 1200): Reveal {
  const hidden = new Map<string, () => void>();
  const reveal: Reveal = (selector) => {
    for (const [each, show] of selector === undefined ? [...hidden] : [[selector, hidden.get(selector)] as const]) {
      show?.();
      hidden.delete(each);
    }
  };
  // First of all: whatever goes wrong after this line, the page is seen.
  setTimeout(reveal, timeoutMs, undefined);
  for (const selector of new Set(typeof selectors === "string" ? [selectors] : selectors)) {
    try {
      document.querySelector(selector);
      hidden.set(selector, style(`${selector}{opacity:0!important}`));
    } catch {
      console.warn(`[selvedge] ${JSON.stringify(selector)} hides nothing: it is no selector, or this browser has no style sheets of scripts`);
    }
  }
  return reveal;
}

/** Applies a rule; the function that is returned takes it back. */
function style(rule: string): () => void {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(rule);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  return () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== sheet);
  };
}

// Elements, made and put in place of others. Owns nothing of the shop.

/** An element: `h("a", { href: "/", class: "x" }, "text", child, [children])`. Functions are listeners, nothing and false are left out. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets a property of a style, which a policy without inline styles lets a script do. */
export function styled(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, value);
  return element;
}

/** Puts new content in place. Who was focused by `data-key` stays so, or what took its place does. */
export function fill(place, ...content) {
  keepFocus(place, () => place.replaceChildren(...content.flat(Infinity).filter(Boolean)));
}

/**
 * Brings what stands in place up to what it should be and leaves alone what is the same, so that who reads it stays where they are.
 * Elements of another `data-key` are others; the listeners of an element are those it was made with.
 */
export function bring(place, ...content) {
  keepFocus(place, () => patch(place, content.flat(Infinity).filter(Boolean)));
}

function patch(parent, wanted) {
  wanted.forEach((next, at) => {
    const old = parent.childNodes[at];
    if (!old) parent.append(next);
    else if (old.nodeName !== next.nodeName || old.dataset?.key !== next.dataset?.key) old.replaceWith(next);
    else if (old instanceof Element) {
      for (const { name } of [...old.attributes]) if (!next.hasAttribute(name)) old.removeAttribute(name);
      for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
      patch(old, [...next.childNodes]);
    } else if (old.data !== next.data) old.data = next.data;
  });
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
}

function keepFocus(place, change) {
  const focused = place.contains(document.activeElement) ? document.activeElement : undefined;
  const key = focused?.closest("[data-key]")?.dataset.key;
  const at = focused ? focusable(place).indexOf(focused) : -1;
  change();
  if (!focused || document.activeElement === focused) return;
  const same = key && place.querySelector(`[data-key="${CSS.escape(key)}"]`);
  const next = same && (same.matches("a, button, input") ? same : focusable(same)[0]);
  (next ?? focusable(place)[at] ?? place).focus({ preventScroll: true });
}

const focusable = (place) => [...place.querySelectorAll("a[href], button, input, summary")];

export const euros = (amount) => `€${Number.isInteger(amount) ? amount : amount.toFixed(2)}`;

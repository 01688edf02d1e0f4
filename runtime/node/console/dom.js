// Elements, and bringing what is on the page up to what it should be without touching what is the same: nothing flickers, and focus,
// selection, scrolling and what a person typed stay.

const SVG = 'http://www.w3.org/2000/svg';

function dispatch(event) {
  this.handlers?.[event.type]?.(event);
}

function listen(el, handlers) {
  for (const type of Object.keys(handlers)) {
    if (!el.handlers || !(type in el.handlers)) el.addEventListener(type, dispatch);
  }
  el.handlers = { ...el.handlers, ...handlers };
}

function make(el, props, children) {
  const handlers = {};
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value == null || value === false) continue;
    if (name.startsWith('on')) handlers[name.slice(2)] = value;
    else if (name === 'style') for (const [key, of] of Object.entries(value)) el.style.setProperty(key, of);
    else if (name === 'value') el.wanted = String(value);
    else el.setAttribute(name, value === true ? '' : value);
  }
  if (Object.keys(handlers).length) listen(el, handlers);
  el.append(...children.flat(4).filter((child) => child != null && child !== false && child !== ''));
  if (el.wanted !== undefined) el.value = el.wanted;
  return el;
}

/** An element: its tag, its attributes and handlers (`onclick`), what is in it. */
export const h = (tag, props, ...children) => make(document.createElement(tag), props, children);

/** The same of SVG. */
export const s = (tag, props, ...children) => make(document.createElementNS(SVG, tag), props, children);

const owned = new Map();
/** An element that draws itself, such as a chart: a place with its name as `data-own` becomes it, and is then left alone. */
export const own = (name, el) => owned.set(name, el);

/** What goes onto the page: a node, with every place for what draws itself taken. */
function settled(node) {
  if (node.nodeType !== 1) return node;
  const self = owned.get(node.getAttribute('data-own'));
  if (self) return self;
  for (const place of node.querySelectorAll('[data-own]')) {
    const it = owned.get(place.getAttribute('data-own'));
    if (it && it !== place) place.replaceWith(it);
  }
  return node;
}

const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute('data-key') : null);
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

function bring(old, next) {
  if (old.nodeType !== 1) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  if (next.hasAttribute('data-own') && old.getAttribute('data-own') === next.getAttribute('data-own')) return;
  for (const { name } of [...old.attributes]) {
    if (name !== 'style' && name !== 'open' && !next.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (name === 'style' || name === 'open') continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.style.cssText !== next.style.cssText) old.style.cssText = next.style.cssText;
  if (next.handlers) listen(old, next.handlers);
  children(old, [...next.childNodes]);
  // A field keeps what was typed unless the page wants something else than before.
  if (next.wanted !== undefined && next.wanted !== old.wanted) {
    old.wanted = next.wanted;
    old.value = next.wanted;
  }
}

function children(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.childNodes) {
    const key = keyOf(child);
    if (key !== null) keyed.set(key, child);
  }
  let at = parent.firstChild;
  for (const next of wanted) {
    const key = keyOf(next);
    const found = key === null ? null : keyed.get(key);
    if (found && alike(found, next)) {
      if (found === at) at = at.nextSibling;
      else parent.insertBefore(found, at);
      bring(found, next);
    } else if (at && key === null && alike(at, next)) {
      const here = at;
      at = at.nextSibling;
      bring(here, next);
    } else {
      parent.insertBefore(settled(next), at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

/** Makes the children of `parent` those given, by changing as little as can be. */
export function show(parent, ...wanted) {
  children(parent, wanted.flat(4).filter((child) => child != null && child !== false).map((child) =>
    typeof child === 'string' ? document.createTextNode(child) : child));
}

let quiet;
/** Says something to who listens instead of looking; once, and seldom. */
export function say(text) {
  const said = document.getElementById('said');
  said.textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => { said.textContent = ''; }, 5000);
}

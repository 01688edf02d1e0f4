// The snippet as a script element: `<script src="snippet.js" data-hide="#hero" data-hide-2=".reco" data-timeout="1200">`, synchronous, in
// the head. Leaves `selvedgeReveal` on the window for whoever renders.

import { hide } from "./snippet.js";

const { timeout, ...said } = document.currentScript?.dataset ?? {};
const selectors = Object.keys(said)
  .filter((name) => /^hide(-?\d+)?$/.test(name))
  .map((name) => said[name] ?? "");
window.selvedgeReveal = hide(selectors, Number(timeout) > 0 ? Number(timeout) : undefined);

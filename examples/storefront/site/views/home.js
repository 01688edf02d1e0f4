// The home page: a hero that learns, a strip for this visitor, and the kinds.

import { picture, scene, tint } from "../art/art.js";
import { all } from "../catalogue.js";
import { h, styled } from "../dom.js";
import { cards } from "../parts.js";
import * as session from "../session.js";

export const title = () => undefined;

/** What stands there when nobody decides. */
const PLAIN = { kicker: "Fieldfare", title: "Clothes and things for weather", text: "Made slowly, in small numbers.", call: "Look around", href: "/shop", scene: "jackets" };

const HEADS = {
  shoes: "You were looking at shoes", knitwear: "You were looking at knitwear", jackets: "You were looking at jackets", bags: "You were looking at bags",
  hats: "You were looking at hats", ceramics: "You were looking at ceramics", lamps: "You were looking at lamps", chairs: "You were looking at chairs",
};

function hero() {
  const decision = session.decide("home-hero");
  const said = decision.choices[0]?.payload ?? PLAIN;
  const models = all().filter((product) => product.category === said.scene && product.season !== "last").slice(3, 6);
  const go = () => session.track("hero_click", undefined, { hero: decision.ids[0] }, { decision, item: decision.ids[0] });
  return h(
    "section",
    { class: "hero", "aria-labelledby": "hero-title", "data-hero": decision.ids[0] },
    h(
      "div",
      { class: "hero-words" },
      h("p", { class: "kicker" }, said.kicker),
      h("h1", { id: "hero-title" }, said.title),
      h("p", { class: "hero-text" }, said.text),
      h("p", {}, h("a", { class: "button", href: said.href, "data-key": "hero", click: go }, said.call)),
    ),
    styled(h("div", { class: "hero-scene" }, scene(models)), { "--tint": tint(models[0]) }),
  );
}

/** The kind that leads the strip, when one does. */
function leading(ids) {
  const kinds = ids.slice(0, 3).map((id) => id.split("-")[0]);
  return kinds.length === 3 && kinds.every((kind) => kind === kinds[0]) ? kinds[0] : undefined;
}

function strip() {
  const { decision, ids } = session.ranked("for-you", all().map((product) => product.id), 8);
  const kind = leading(ids);
  return h(
    "section",
    { class: "strip", "aria-labelledby": "for-you" },
    h("div", { class: "strip-head" }, h("h2", { id: "for-you" }, "For you"), h("p", {}, (kind && HEADS[kind]) ?? "A start, until we know you")),
    cards(ids, decision, "For you"),
  );
}

function kinds() {
  const names = [...new Set(all().map((product) => product.category))];
  const tile = (name, at) => {
    const product = all().filter((each) => each.category === name)[(at * 3 + 1) % 10];
    return h(
      "li",
      {},
      styled(h("a", { class: "kind", href: `/shop/${name}`, "data-key": `kind-${name}` }, picture(product), h("span", {}, name)), { "--tint": tint(product) }),
    );
  };
  return h("section", { class: "strip", "aria-labelledby": "kinds" }, h("div", { class: "strip-head" }, h("h2", { id: "kinds" }, "By kind")), h("ul", { class: "kind-row" }, names.map(tile)));
}

export const draw = () => [hero(), strip(), kinds()];

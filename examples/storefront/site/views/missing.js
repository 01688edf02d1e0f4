// An address that is none of the shop's.

import { h } from "../dom.js";

export const title = () => "Nothing here";

export const draw = () =>
  h(
    "section",
    { class: "empty" },
    h("h1", {}, "There is nothing on this shelf"),
    h("p", {}, "It may have been sold, or never made."),
    h("p", {}, h("a", { class: "button", href: "/shop" }, "Look around")),
  );

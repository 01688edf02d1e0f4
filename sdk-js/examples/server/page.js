// The page starts from what the server decided: no second request, and what was shown is told once.

import { createClient } from "/sdk.js";

const client = createClient({
  baseUrl: document.documentElement.dataset.node,
  bootstrap: document.getElementById("selvedge").textContent,
});
const hero = client.decide("home-hero", { title: "Welcome" });
const title = document.getElementById("hero");
title.dataset.source = hero.source;
title.onclick = () => client.track("select_promotion", {}, { decision: hero });

// A single-page app: the banner is decided again on every route.

import { createClient } from "@selvedge/sdk";
import type {} from "@selvedge/sdk/snippet";

const client = createClient({
  baseUrl: "http://127.0.0.1:7070",
  context: { country: "DE" },
  placements: ["home-hero"],
});

function render(): void {
  const hero = client.decide("home-hero", { title: "Welcome" });
  const title = document.querySelector("#hero") as HTMLElement;
  title.textContent = hero.value.title;
  title.dataset.source = hero.source;
  title.title = `decision ${hero.decisionId}, score ${hero.choices[0]?.score}`;
  title.onclick = () => client.track("select_promotion", {}, { decision: hero });
}

client.ready().then(render).finally(() => window.selvedgeReveal?.());
// Another release, or another answer.
client.on("change", render);
addEventListener("hashchange", async () => {
  client.track("page_view", { page: location.hash });
  await client.setContext({ country: "DE", cart_value: location.hash === "#sale" ? 120 : 0 });
  render();
});

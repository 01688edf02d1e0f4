// A page without a bundler: a banner and a ranked list, from a node on this machine.

const client = selvedge.createClient({
  baseUrl: "http://127.0.0.1:7070",
  context: { country: "DE" },
  placements: ["home-hero"],
});

client.ready().then(async () => {
  const hero = client.decide("home-hero", { title: "Welcome" });
  const title = document.getElementById("hero");
  title.textContent = hero.value.title;
  title.onclick = () => client.track("select_promotion", {}, { decision: hero });
  window.selvedgeReveal?.();

  const ranked = await client.rank("plp-rank", ["sku-1", "sku-2", "sku-3"]);
  for (const sku of ranked.ids) {
    const item = document.createElement("li");
    item.textContent = sku;
    item.onclick = () => client.track("view_item", { item_id: sku }, { decision: ranked, item: sku });
    document.getElementById("list").append(item);
  }
});

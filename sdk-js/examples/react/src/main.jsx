// React by OpenFeature's own hooks: nothing in the components knows of Selvedge.

import { OpenFeature, OpenFeatureProvider } from "@openfeature/react-sdk";
import { createClient } from "@selvedge/sdk";
import { SelvedgeProvider } from "@selvedge/sdk/openfeature";
import React from "react";
import { createRoot } from "react-dom/client";
import { Shop } from "./shop.jsx";

const client = createClient({ baseUrl: "http://127.0.0.1:7070", placements: ["home-hero"] });
OpenFeature.setContext({ country: "DE" });
OpenFeature.setProvider(new SelvedgeProvider(client));

createRoot(document.getElementById("root")).render(
  <OpenFeatureProvider>
    <Shop />
  </OpenFeatureProvider>,
);

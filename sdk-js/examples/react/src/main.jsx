// React by OpenFeature's own hooks: nothing in the components knows of Selvedge.

import { OpenFeature, OpenFeatureProvider } from "@openfeature/react-sdk";
import { createClient } from "@selvedge/sdk";
import { SelvedgeProvider } from "@selvedge/sdk/openfeature";
import React from "react";
import { createRoot } from "react-dom/client";
import { Shop } from "./shop.jsx";

// Both get the same context: so the first question is the one that counts.
const context = { country: "DE" };
const client = createClient({ baseUrl: "http://127.0.0.1:7070", context, placements: ["home-hero"] });
OpenFeature.setContext(context);
OpenFeature.setProvider(new SelvedgeProvider(client));

createRoot(document.getElementById("root")).render(
  <OpenFeatureProvider>
    <Shop />
  </OpenFeatureProvider>,
);

// The shop's home: a banner that changes with who looks at it.

import { useContextMutator, useObjectFlagDetails, useTrack } from "@openfeature/react-sdk";
import React, { Suspense } from "react";

const PLAIN = { title: "Welcome" };

function Hero() {
  // Waits for the first answer, and is rendered again when it changes.
  const { value, variant } = useObjectFlagDetails("home-hero", PLAIN, { suspend: true });
  const { track } = useTrack();
  return (
    <h1 data-variant={variant} onClick={() => track("select_promotion", { placement: "home-hero" })}>
      {value.title}
    </h1>
  );
}

export function Shop() {
  const { setContext } = useContextMutator({ defaultContext: true });
  return (
    <Suspense fallback={<h1>…</h1>}>
      <Hero />
      <button onClick={() => setContext({ targetingKey: "u-42", country: "DE" })}>Log in</button>
    </Suspense>
  );
}

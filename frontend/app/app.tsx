import { useState, useSyncExternalStore } from "react";
import { DemoSectionInteractive } from "@/components/sections/demo-section-interactive";
import { Developers } from "@/components/sections/developers";
import { Footer } from "@/components/sections/footer";
import { Hero } from "@/components/sections/hero";
import { HowItWorks } from "@/components/sections/how-it-works";
import { Navigation } from "@/components/sections/navigation";
import { Pricing } from "@/components/sections/pricing";
import { Privacy } from "@/components/sections/privacy";
import { createClient } from "@/lib/api-client";
import { userToken } from "@/lib/token";

/** What the curl calls say until the browser knows where it is. */
const USUAL_ORIGIN = "http://localhost:8000";

export function App({ apiBase }: { apiBase: string }) {
  const [client] = useState(() => createClient({ base: apiBase, token: userToken }));
  const origin = useSyncExternalStore(
    () => () => undefined,
    () => location.origin,
    () => USUAL_ORIGIN,
  );
  return (
    <>
      <Navigation client={client} />
      <main id="top">
        <Hero docs={client.address("/api/docs")} />
        <DemoSectionInteractive apiBase={apiBase} />
        <HowItWorks />
        <Developers docs={client.address("/api/docs")} origin={apiBase || origin} />
        <Privacy />
        <Pricing />
      </main>
      <Footer address={client.address} />
    </>
  );
}

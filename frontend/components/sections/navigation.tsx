import { Moon, Sun } from "lucide-react";
import { useCallback, useEffect, useState } from "react";
import { IconButton } from "@/components/ui/button";
import { Logo } from "@/components/ui/logo";
import type { Client, Health } from "@/lib/api-client";
import { messages } from "@/lib/messages";
import { keepTheme, readTheme, type Theme } from "@/lib/token";

const words = messages.nav;
const LINKS = [
  ["#preview", words.preview],
  ["#how", words.how],
  ["#developers", words.developers],
  ["#privacy", words.privacy],
  ["#pricing", words.pricing],
] as const;

export function Navigation({ client }: { client: Client }) {
  return (
    <header className="sticky top-0 z-20 border-b border-line bg-paper/90 backdrop-blur-md [@media(max-height:32rem)]:static">
      <a
        href="#preview"
        className="sr-only rounded-[10px] bg-ink px-4 py-2.5 text-paper focus:not-sr-only focus:absolute focus:top-3 focus:left-4 focus:z-30"
      >
        {messages.skip}
      </a>
      <div className="mx-auto flex h-17 w-[min(1200px,100%-2rem)] items-center gap-7 lg:w-[min(1200px,100%-3rem)]">
        <Logo />
        <nav aria-label={words.label} className="flex gap-6 max-lg:hidden">
          {LINKS.map(([href, text]) => (
            <a key={href} href={href} className="text-[15px] text-mute no-underline hover:text-ink">
              {text}
            </a>
          ))}
          <a
            href={client.address("/api/docs")}
            className="text-[15px] text-mute no-underline hover:text-ink"
          >
            {words.docs}
          </a>
        </nav>
        <div className="ml-auto flex items-center gap-2.5">
          <HealthPill client={client} />
          <ThemeButton />
        </div>
      </div>
    </header>
  );
}

function ThemeButton() {
  // Known in the browser alone: the page is rendered before it gets there.
  const [theme, setTheme] = useState<Theme>("light");
  useEffect(() => {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => setTheme(readTheme() ?? (system.matches ? "dark" : "light"));
    follow();
    system.addEventListener("change", follow);
    return () => system.removeEventListener("change", follow);
  }, []);

  const other = theme === "dark" ? "light" : "dark";
  return (
    <IconButton
      label={other === "dark" ? words.toDark : words.toLight}
      onClick={() => {
        document.documentElement.dataset.theme = other;
        keepTheme(other);
        setTheme(other);
      }}
    >
      {theme === "dark" ? (
        <Sun aria-hidden className="size-[18px]" />
      ) : (
        <Moon aria-hidden className="size-[18px]" />
      )}
    </IconButton>
  );
}

const ASK_MS = 60_000;
const ASK_AGAIN_MS = 10_000;
const PILL = {
  ok: "bg-ok-soft text-ok",
  degraded: "bg-warn-soft text-warn",
  unavailable: "bg-bad-soft text-bad",
};

/** How the server is: asked once a minute while somebody looks, sooner where it is not well. */
function HealthPill({ client }: { client: Client }) {
  const [health, setHealth] = useState<Pick<Health, "status" | "waiting"> | null>(null);
  const ask = useCallback(() => {
    if (document.hidden) return;
    client.health().then(setHealth, () => setHealth({ status: "unavailable", waiting: null }));
  }, [client]);
  useEffect(ask, [ask]);
  const well = health?.status === "ok";
  useEffect(() => {
    const timer = setInterval(ask, well ? ASK_MS : ASK_AGAIN_MS);
    return () => clearInterval(timer);
  }, [ask, well]);

  // Its place is kept while the answer is on its way.
  if (health === null) return <span className="h-8 w-32 max-md:hidden" />;
  const text =
    health.status === "ok"
      ? messages.health.ok(health.waiting ?? 0)
      : messages.health[health.status];
  return (
    <a
      href={client.address("/api/health")}
      className={`inline-flex items-center gap-2 rounded-full px-3 py-1.5 text-[13px] font-medium no-underline max-md:hidden ${PILL[health.status]}`}
    >
      <span aria-hidden className="size-2 rounded-full bg-current" /> {text}
    </a>
  );
}

import { renderToString } from "react-dom/server";
import { expect, test, vi } from "vitest";
import { App } from "@/app/app";
import { messages } from "@/lib/messages";

test("a server renders the page without clock, chance or storage", () => {
  const spies = [
    vi.spyOn(Date, "now"),
    vi.spyOn(crypto, "getRandomValues"),
    vi.spyOn(Storage.prototype, "getItem"),
    vi.spyOn(Storage.prototype, "setItem"),
  ];

  const html = renderToString(<App apiBase="" />);

  expect(html).toContain(messages.demo.title);
  for (const spy of spies) expect(spy).not.toHaveBeenCalled();
});

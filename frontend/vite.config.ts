import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { createServer, type Plugin } from "vite";
import { defineConfig } from "vitest/config";

// Where `npm run dev` finds the server; the built page asks the server it came from.
const server = process.env.TRYONAI_SERVER ?? "http://127.0.0.1:8000";

const alias = { "@": fileURLToPath(new URL(".", import.meta.url)) };

export default defineConfig({
  plugins: [react(), tailwindcss(), prerendered(), licences()],
  resolve: { alias },
  server: { proxy: { "/api": server, "/.well-known": server } },
  preview: { proxy: { "/api": server, "/.well-known": server } },
  build: {
    target: "es2022",
    // Small pictures as data: addresses would only make the first file larger.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: { environment: "happy-dom", include: ["tests/**/*.test.{ts,tsx}"] },
});

/** The page gives away other people's work: licences.txt beside it says whose, in their words. */
function licences(): Plugin {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");
  return {
    name: "licences",
    apply: "build",
    generateBundle() {
      const { dependencies } = JSON.parse(read("package.json")) as Record<string, object>;
      const texts = Object.keys(dependencies ?? {}).map((name) => {
        const folder = `node_modules/${name}/`;
        const file = readdirSync(new URL(folder, import.meta.url)).find((one) =>
          /^licen[sc]e/i.test(one),
        );
        if (file === undefined) throw new Error(`${name} comes without a licence`);
        return `${name}\n\n${read(folder + file).trim()}\n`;
      });
      const source = texts.join(`\n${"-".repeat(80)}\n\n`);
      this.emitFile({ type: "asset", fileName: "licences.txt", source });
    },
  };
}

/** The page is in index.html already: it paints while its script is still on the way. */
function prerendered(): Plugin {
  return {
    name: "prerendered",
    apply: "build",
    async transformIndexHtml(html) {
      const server = await createServer({
        configFile: false,
        plugins: [react()],
        resolve: { alias },
        server: { middlewareMode: true, ws: false, watch: null },
        appType: "custom",
        logLevel: "error",
      });
      try {
        const { prerender } = await server.ssrLoadModule("/app/prerender.tsx");
        return html.replace("<!--page-->", prerender(process.env.VITE_API_BASE ?? ""));
      } finally {
        await server.close();
      }
    },
  };
}

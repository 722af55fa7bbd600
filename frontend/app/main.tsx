import "./globals.css";
import { createRoot } from "react-dom/client";
import { readTheme } from "@/lib/token";
import { App } from "./app";
import { ErrorFence } from "./error-fence";

const theme = readTheme();
if (theme !== null) document.documentElement.dataset.theme = theme;

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
createRoot(root).render(
  <ErrorFence>
    <App apiBase={import.meta.env.VITE_API_BASE ?? ""} />
  </ErrorFence>,
);

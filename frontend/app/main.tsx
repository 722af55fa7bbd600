import "./globals.css";
import { createRoot, hydrateRoot } from "react-dom/client";
import { Page } from "./page";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
const page = <Page apiBase={import.meta.env.VITE_API_BASE ?? ""} />;
// The built index.html carries the page already; that of `npm run dev` does not.
if (root.firstElementChild) hydrateRoot(root, page);
else createRoot(root).render(page);

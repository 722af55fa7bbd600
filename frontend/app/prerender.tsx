import { renderToString } from "react-dom/server";
import { Page } from "./page";

/** The page as it is before anything is known of visitor and server; the build puts it in. */
export function prerender(apiBase: string): string {
  return renderToString(<Page apiBase={apiBase} />);
}

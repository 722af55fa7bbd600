import { App } from "./app";
import { ErrorFence } from "./error-fence";

export function Page({ apiBase }: { apiBase: string }) {
  return (
    <ErrorFence>
      <App apiBase={apiBase} />
    </ErrorFence>
  );
}

import { useCallback, useEffect, useState } from "react";

/**
 * Reads a picture from the clipboard at a press; null where the browser lets no page do so, as on
 * every http:// address but localhost. Pasting with the keyboard works there all the same.
 */
export function usePasteButton(onFile: (file: File) => void): (() => void) | null {
  const [able, setAble] = useState(false);
  useEffect(() => setAble(typeof navigator.clipboard?.read === "function"), []);

  const paste = useCallback(async () => {
    try {
      for (const item of await navigator.clipboard.read()) {
        const type = item.types.find((one) => one.startsWith("image/"));
        if (type) return onFile(new File([await item.getType(type)], "", { type }));
      }
    } catch {
      // Refused by the visitor, or empty: either way there is nothing to paste.
    }
  }, [onFile]);

  return able ? paste : null;
}

import { ImagePlus } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { messages } from "@/lib/messages";
import type { Slot } from "@/lib/reducer";

interface DropOverlayProps {
  /** Where a picture goes that fell on neither column. */
  open: Slot;
  onFile: (slot: Slot, file: File) => void;
}

/** Takes files that are dropped anywhere on the page, or pasted. */
export function DropOverlay(props: DropOverlayProps) {
  const [over, setOver] = useState<Slot | null>(null);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;

    function take(files: Iterable<File>, slot: Slot) {
      const [first, second] = [...files];
      if (first) latest.current.onFile(second ? "person" : slot, first);
      if (second) latest.current.onFile("garment", second);
    }
    function onDrag(event: DragEvent) {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(slotAt(event.target) ?? latest.current.open);
    }
    function onLeave(event: DragEvent) {
      if (event.relatedTarget === null) setOver(null);
    }
    function onDrop(event: DragEvent) {
      setOver(null);
      const files = event.dataTransfer?.files;
      if (!files?.length) return;
      event.preventDefault();
      take(files, slotAt(event.target) ?? latest.current.open);
    }
    function onPaste(event: ClipboardEvent) {
      const files = event.clipboardData?.files;
      if (files?.length) take(files, slotAt(document.activeElement) ?? latest.current.open);
    }

    window.addEventListener("dragenter", onDrag, { signal });
    window.addEventListener("dragover", onDrag, { signal });
    window.addEventListener("dragleave", onLeave, { signal });
    window.addEventListener("drop", onDrop, { signal });
    window.addEventListener("paste", onPaste, { signal });
    return () => stop.abort();
  }, []);

  if (over === null) return null;
  return (
    <div className="pointer-events-none fixed inset-3 z-50 grid place-items-center rounded-3xl border-[3px] border-dashed border-accent bg-paper/80">
      <p className="heading flex items-center gap-3 rounded-2xl bg-card px-6 py-4 text-xl font-semibold shadow-lift">
        <ImagePlus aria-hidden className="text-accent-text" /> {messages.drop[over]}
      </p>
    </div>
  );
}

function slotAt(target: EventTarget | null): Slot | null {
  const column = target instanceof Element ? target.closest("[data-slot]") : null;
  const slot = column?.getAttribute("data-slot");
  return slot === "person" || slot === "garment" ? slot : null;
}

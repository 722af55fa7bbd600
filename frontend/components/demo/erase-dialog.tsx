import { CircleAlert, Trash2 } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Button } from "@/components/ui/button";
import { Note } from "@/components/ui/note";
import type { Session } from "@/lib/api-client";
import { messages } from "@/lib/messages";
import { pictures } from "./erase-panel";

const words = messages.erase;

interface EraseDialogProps {
  /** What is about to go. */
  sessions: Session[];
  all: boolean;
  onErase: () => Promise<void>;
  onClose: () => void;
}

/** The browser's own modal dialog: it traps the focus, closes with Escape and gives focus back. */
export function EraseDialog({ sessions, all, onErase, onClose }: EraseDialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [state, setState] = useState<"asking" | "going" | "failed">("asking");
  const count = pictures(sessions);

  useEffect(() => {
    const element = dialog.current;
    const before = document.activeElement;
    element?.showModal();
    return () => {
      element?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);

  async function go() {
    setState("going");
    try {
      await onErase();
      onClose();
    } catch {
      setState("failed");
    }
  }

  return (
    <dialog
      ref={dialog}
      role="alertdialog"
      aria-labelledby="erase-title"
      aria-describedby="erase-text"
      onCancel={(event) => {
        event.preventDefault();
        if (state !== "going") onClose();
      }}
      className="m-auto w-[min(26rem,100%-2rem)] rounded-[20px] border border-line bg-card p-6 text-ink shadow-lift backdrop:bg-black/50"
    >
      <h2 id="erase-title" className="heading text-xl font-semibold">
        {all ? words.confirmTitle : words.confirmOneTitle}
      </h2>
      <p id="erase-text" className="mt-2 mb-5 text-mute">
        {words.confirm(sessions.length, count)}
      </p>
      {state === "failed" && (
        <div className="mb-4">
          <Note tone="bad" icon={CircleAlert} title={words.failed} alert />
        </div>
      )}
      <div className="flex gap-2.5">
        <Button onClick={onClose} disabled={state === "going"}>
          {words.keep}
        </Button>
        <Button tone="danger" onClick={go} disabled={state === "going"}>
          <Trash2 aria-hidden className="size-[18px]" />
          {state === "going" ? words.going : words.go(count)}
        </Button>
      </div>
    </dialog>
  );
}

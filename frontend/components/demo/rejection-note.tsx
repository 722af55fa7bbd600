import { ImageOff } from "lucide-react";
import { Note } from "@/components/ui/note";
import { messages } from "@/lib/messages";
import type { Rejection } from "@/lib/picture";

export function RejectionNote({ rejection }: { rejection: Rejection }) {
  const [title, text] = messages.rejected[rejection.code](rejection.facts);
  return (
    <Note tone="bad" icon={ImageOff} title={title} alert>
      {text}
    </Note>
  );
}

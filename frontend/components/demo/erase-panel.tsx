import { Check, Trash2 } from "lucide-react";
import { Button } from "@/components/ui/button";
import type { Session } from "@/lib/api-client";
import { clock, dayAndTime } from "@/lib/format";
import { messages } from "@/lib/messages";
import { useNow } from "@/lib/use-now";

const words = messages.erase;
const RADIUS = 46;
const AROUND = 2 * Math.PI * RADIUS;

interface ErasePanelProps {
  sessions: Session[];
  /** The server has said which there are. */
  known: boolean;
  now: () => number;
  onErase: () => void;
}

/** What the server still has of this visitor, for how long, and the way to end it. */
export function ErasePanel({ sessions, known, now, onErase }: ErasePanelProps) {
  const time = useNow(now, sessions.length > 0);
  const last = sessions.reduce<Session | null>(
    (late, one) => (late === null || one.expires_at > late.expires_at ? one : late),
    null,
  );
  return (
    <>
      <h3 className="heading text-lg font-semibold">{words.title}</h3>
      {last === null ? (
        <p className="my-4.5 text-[15px] text-mute">{known ? words.nothing : words.unknown}</p>
      ) : (
        <div className="my-4.5 flex items-center gap-5">
          <Ring
            left={Math.min(Date.parse(last.expires_at) - time, lifetime(last))}
            whole={lifetime(last)}
          />
          <div>
            <p className="font-medium">{words.until}</p>
            <p className="text-sm text-mute">
              {words.stored(sessions.length, pictures(sessions), dayAndTime(last.expires_at))}
            </p>
          </div>
        </div>
      )}
      <ul className="mb-4.5 grid list-none gap-2 p-0 text-[14.5px]">
        {words.facts.map((fact) => (
          <li key={fact} className="flex gap-2.5">
            <Check aria-hidden className="mt-0.5 size-[18px] shrink-0 text-ok" /> {fact}
          </li>
        ))}
      </ul>
      <Button
        tone="danger-plain"
        className="mt-auto w-full"
        disabled={last === null}
        onClick={onErase}
      >
        <Trash2 aria-hidden className="size-[18px]" /> {words.button}
      </Button>
    </>
  );
}

const lifetime = (session: Session) =>
  Date.parse(session.expires_at) - Date.parse(session.created_at);

/** How many pictures of these the server holds; a garment of the catalogue is not the visitor's. */
export function pictures(sessions: Session[]): number {
  return sessions.reduce(
    (count, one) =>
      count +
      Number(one.input_image_url !== null) +
      Number(one.garment_id === null && one.garment_image_url !== null) +
      Number(one.output_image_url !== null),
    0,
  );
}

function Ring({ left, whole }: { left: number; whole: number }) {
  const part = Math.min(1, Math.max(0, left / whole));
  return (
    <svg viewBox="0 0 104 104" width="104" height="104" className="shrink-0" role="img">
      <title>{`${clock(left)} ${words.until}`}</title>
      <g fill="none" strokeWidth="9" transform="rotate(-90 52 52)">
        <circle cx="52" cy="52" r={RADIUS} stroke="var(--line)" />
        <circle
          cx="52"
          cy="52"
          r={RADIUS}
          stroke="var(--ok)"
          strokeLinecap="round"
          strokeDasharray={`${part * AROUND} ${AROUND}`}
        />
      </g>
      <text
        x="52"
        y="58"
        textAnchor="middle"
        fill="var(--ink)"
        className={`heading font-semibold tabular-nums ${left < 3_600_000 ? "text-[23px]" : "text-[17px]"}`}
      >
        {clock(left)}
      </text>
    </svg>
  );
}

import { Shirt, Trash2 } from "lucide-react";
import { useState } from "react";
import { Badge } from "@/components/ui/badge";
import { Button, IconButton } from "@/components/ui/button";
import type { Garment, Session } from "@/lib/api-client";
import { roughly, timeOfDay } from "@/lib/format";
import { messages, stage } from "@/lib/messages";
import { useNow } from "@/lib/use-now";

const words = messages.history;
const FEW = 4;

interface SessionListProps {
  sessions: Session[];
  garments: Garment[];
  shownId: string | null;
  address: (path: string) => string;
  now: () => number;
  onOpen: (session: Session) => void;
  onErase: (session: Session) => void;
}

export function SessionList(props: SessionListProps) {
  const { sessions } = props;
  const [all, setAll] = useState(false);
  const now = useNow(props.now, sessions.length > 0, 10_000);
  const listed = all ? sessions : sessions.slice(0, FEW);
  return (
    <section aria-labelledby="sessions" className="panel min-w-0 p-5 lg:p-6.5">
      <div className="flex flex-wrap items-baseline justify-between gap-x-4">
        <h3 id="sessions" className="heading text-lg font-semibold">
          {words.title}
        </h3>
        <span className="text-[13px] text-mute">{words.note}</span>
      </div>
      {sessions.length === 0 && <p className="mt-4 text-[15px] text-mute">{words.empty}</p>}
      <ul className="mt-4 list-none p-0">
        {listed.map((session) => (
          <Row key={session.id} {...props} session={session} time={now} />
        ))}
      </ul>
      {sessions.length > listed.length && (
        <Button size="small" className="mt-2" onClick={() => setAll(true)}>
          {words.more(sessions.length - listed.length)}
        </Button>
      )}
    </section>
  );
}

const TONES = { created: "busy", processing: "busy", completed: "ok", failed: "bad" } as const;
const VERBS = {
  created: words.watch,
  processing: words.watch,
  completed: words.show,
  failed: words.look,
};

function Row(props: SessionListProps & { session: Session; time: number }) {
  const { session, time } = props;
  const garment = props.garments.find((one) => one.id === session.garment_id);
  const name = garment?.name ?? words.own;
  const left = Date.parse(session.expires_at) - time;
  return (
    <li className="grid grid-cols-[56px_1fr_auto] items-center gap-x-4 border-t border-line py-3 max-sm:grid-cols-[48px_1fr]">
      <Thumb src={thumbOf(session, garment, props.address)} />
      <div className="min-w-0">
        <p className="flex flex-wrap items-center gap-x-2.5 gap-y-1 text-[15px] font-medium">
          {name} <Badge tone={TONES[session.status]}>{badge(session)}</Badge>
        </p>
        <p className="text-[13px] text-mute tabular-nums">
          {timeOfDay(session.created_at)}, {words.goneIn(roughly(left))}
        </p>
      </div>
      <div className="flex gap-2 max-sm:col-start-2 max-sm:mt-2">
        <Button
          size="small"
          aria-label={`${VERBS[session.status]}: ${name}`}
          aria-current={session.id === props.shownId ? "true" : undefined}
          disabled={session.id === props.shownId}
          onClick={() => props.onOpen(session)}
        >
          {session.id === props.shownId ? words.shown : VERBS[session.status]}
        </Button>
        <IconButton label={`${words.remove}: ${name}`} onClick={() => props.onErase(session)}>
          <Trash2 aria-hidden className="size-4" />
        </IconButton>
      </div>
    </li>
  );
}

function badge(session: Session): string {
  if (session.status !== "processing") return words.status[session.status];
  const { text } = stage(session.stage);
  return !session.progress ? text : `${text}, ${Math.round(session.progress * 100)} %`;
}

function thumbOf(
  session: Session,
  garment: Garment | undefined,
  address: (path: string) => string,
): string | null {
  if (session.output_image_url) return address(session.output_image_url);
  if (garment) return address(garment.image_url);
  return session.garment_image_url ? address(session.garment_image_url) : null;
}

/** Signed addresses hold for minutes: one that does not load any more is no broken picture. */
function Thumb({ src }: { src: string | null }) {
  const [broken, setBroken] = useState<string | null>(null);
  return (
    <span className="studio grid aspect-square place-items-center overflow-hidden rounded-xl text-mute">
      {src === null || broken === src ? (
        <Shirt aria-hidden className="size-5" />
      ) : (
        <img
          src={src}
          alt=""
          loading="lazy"
          onError={() => setBroken(src)}
          className="size-full object-cover object-[50%_20%]"
        />
      )}
    </span>
  );
}

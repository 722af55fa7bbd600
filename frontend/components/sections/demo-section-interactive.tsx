"use client";

import { RotateCcw, WifiOff } from "lucide-react";
import { useRef, useState } from "react";
import { DropOverlay } from "@/components/demo/drop-overlay";
import { EraseDialog } from "@/components/demo/erase-dialog";
import { ErasePanel } from "@/components/demo/erase-panel";
import { GarmentColumn } from "@/components/demo/garment-column";
import { LeaveBar } from "@/components/demo/leave-bar";
import { OptionsPanel } from "@/components/demo/options-panel";
import { PersonColumn } from "@/components/demo/person-column";
import { ProofPanel } from "@/components/demo/proof-panel";
import { ResultColumn } from "@/components/demo/result-column";
import { RunBar } from "@/components/demo/run-bar";
import { SessionList } from "@/components/demo/session-list";
import { Button } from "@/components/ui/button";
import { Note } from "@/components/ui/note";
import { createClient, type Session } from "@/lib/api-client";
import { messages } from "@/lib/messages";
import { hindrance, type Slot, shownSession } from "@/lib/reducer";
import { suits } from "@/lib/suits";
import { userToken } from "@/lib/token";
import { useCatalogue } from "@/lib/use-catalogue";
import { useErased } from "@/lib/use-erased";
import { useInSight } from "@/lib/use-in-sight";
import { usePasteButton } from "@/lib/use-paste-button";
import { useTryOn } from "@/lib/use-try-on";

/** Until the server has told its own: the contract's figures for the built-in engine. */
const USUAL_LIMITS = { min_side: 256, max_file_bytes: 10 * 2 ** 20 };

interface DemoSectionProps {
  /** Another origin of the API, as `https://tryon.example.com`; left out, the page's own. */
  apiBase?: string;
}

/** The Product Preview: a conductor over one reducer. It stands alone on any React page. */
export function DemoSectionInteractive({ apiBase = "" }: DemoSectionProps) {
  const [client] = useState(() => createClient({ base: apiBase, token: userToken }));
  const catalogue = useCatalogue(client);
  const limits = catalogue.engine?.limits ?? USUAL_LIMITS;
  const tryOn = useTryOn(client, { minSide: limits.min_side, maxBytes: limits.max_file_bytes });
  const { state } = tryOn;
  const erased = useErased(client, state);
  const [erasing, setErasing] = useState<"all" | Session | null>(null);
  const shown = shownSession(state.run);
  const expired = state.run.phase === "expired" ? state.run.id : null;
  const person = find(catalogue.people, (state.preparing.person ?? state.person)?.sampleId);
  const garment = find(
    catalogue.garments,
    state.garment?.kind === "sample" ? state.garment.id : null,
  );
  const hindered = hindrance(state, {
    suits: suits(person, garment),
    egress: catalogue.engine?.egress ?? false,
  });
  const openSlot: Slot = state.person !== null && state.garment === null ? "garment" : "person";
  const paste = usePasteButton((file) => tryOn.pickFile("person", file));
  const failed = catalogue.status === "failed";
  const result = useRef<HTMLElement>(null);
  const bar = useRef<HTMLDivElement>(null);
  const bringResult = useInSight(result, bar, state.run.phase);

  return (
    <section
      id="preview"
      aria-labelledby="preview-title"
      className="border-y border-line bg-sunk py-14 text-ink lg:py-21"
    >
      <div className="mx-auto w-[min(1200px,100%-2rem)] lg:w-[min(1200px,100%-3rem)]">
        <div className="mb-8 flex flex-wrap items-end justify-between gap-x-6 gap-y-4">
          <div>
            <h2 id="preview-title" className="heading text-[clamp(30px,3.6vw,44px)] font-semibold">
              {messages.demo.title}
            </h2>
            <p className="mt-2.5 max-w-[44em] text-mute">{messages.demo.lead}</p>
          </div>
          <Button size="small" onClick={tryOn.startOver}>
            <RotateCcw aria-hidden className="size-[18px]" /> {messages.demo.startOver}
          </Button>
        </div>
        {!state.online && (
          <div className="mb-5">
            <Note tone="warn" icon={WifiOff} title={messages.offline.title} alert>
              {messages.offline.text}
            </Note>
          </div>
        )}
        <div className="panel">
          <div className="grid sm:grid-cols-2 lg:grid-cols-[1fr_1.1fr_1.16fr] xl:grid-cols-[1fr_1fr_1.16fr] [&>*]:min-w-0">
            <PersonColumn
              picture={state.person}
              preparing={state.preparing.person}
              rejection={state.rejected.person}
              people={catalogue.people}
              failed={failed}
              address={client.address}
              onFile={(file) => tryOn.pickFile("person", file)}
              onPerson={tryOn.pickPerson}
              onClear={() => tryOn.clear("person")}
              onPaste={paste}
            />
            <GarmentColumn
              choice={state.garment}
              preparing={state.preparing.garment !== null}
              rejection={state.rejected.garment}
              garments={catalogue.garments}
              person={person}
              failed={failed}
              address={client.address}
              onFile={(file) => tryOn.pickFile("garment", file)}
              onChoose={tryOn.chooseGarment}
              onClear={() => tryOn.clear("garment")}
              onReload={catalogue.reload}
            />
            <ResultColumn
              ref={result}
              client={client}
              run={state.run}
              person={state.person}
              before={shown && tryOn.before(shown.id)}
              erasedAt={find(erased.sessions, expired)?.erasedAt ?? null}
              onRetry={hindered === null ? tryOn.press : null}
              onPick={tryOn.pickFile}
            />
          </div>
          <OptionsPanel options={state.options} engine={catalogue.engine} onChange={tryOn.change} />
          <LeaveBar options={state.options} engine={catalogue.engine} onChange={tryOn.change} />
          <RunBar
            ref={bar}
            run={state.run}
            hindrance={hindered}
            online={state.online}
            now={client.now}
            onPress={tryOn.press}
            onCancel={tryOn.cancel}
          />
        </div>
        <div className="mt-6 grid gap-6 lg:grid-cols-[1.45fr_1fr]">
          <SessionList
            sessions={state.history}
            known={state.more !== null}
            garments={catalogue.garments}
            shownId={shown?.id ?? null}
            address={client.address}
            now={client.now}
            onOpen={(session) => {
              bringResult();
              void tryOn.open(session);
            }}
            onErase={setErasing}
            erased={erased}
          />
          <div className="panel flex min-w-0 flex-col p-5 lg:p-6.5">
            {state.proof ? (
              <ProofPanel proof={state.proof} address={client.address} onClose={tryOn.closeProof} />
            ) : (
              <ErasePanel
                sessions={state.history}
                known={state.more !== null}
                now={client.now}
                onErase={() => setErasing("all")}
              />
            )}
          </div>
        </div>
      </div>
      <DropOverlay open={openSlot} onFile={tryOn.pickFile} />
      {erasing !== null && (
        <EraseDialog
          sessions={erasing === "all" ? state.history : [erasing]}
          all={erasing === "all"}
          onErase={() => tryOn.erase(erasing)}
          onClose={() => setErasing(null)}
        />
      )}
    </section>
  );
}

function find<Item extends { id: string }>(
  items: Item[],
  id: string | null | undefined,
): Item | null {
  return items.find((one) => one.id === id) ?? null;
}

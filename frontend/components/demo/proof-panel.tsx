import { Download, ShieldCheck } from "lucide-react";
import { useEffect, useState } from "react";
import { Button, buttonClass } from "@/components/ui/button";
import type { Receipt } from "@/lib/api-client";
import { bytes, instant } from "@/lib/format";
import { messages } from "@/lib/messages";
import type { Proof } from "@/lib/reducer";

const words = messages.proof;

interface ProofPanelProps {
  proof: Proof;
  address: (path: string) => string;
  onClose: () => void;
}

/** What was erased, when, and the server's signed word for it. */
export function ProofPanel({ proof, address, onClose }: ProofPanelProps) {
  const { receipts } = proof;
  const erased = receipts.flatMap((receipt) => receipt.statement.pictures);
  const size = erased.reduce((sum, picture) => sum + picture.size, 0);
  return (
    <div role="status" className="flex flex-auto animate-[rise_.3s_ease-out] flex-col">
      <h3 className="heading flex items-center gap-2.5 text-lg font-semibold">
        <ShieldCheck aria-hidden className="size-6 shrink-0 text-ok" />
        {words.title(receipts.length || proof.sessions)}
      </h3>
      <p className="mt-3 text-[15px]">
        {receipts.length > 0
          ? words.erased(erased.length, bytes(size), instant(lastOf(receipts)))
          : words.when(instant(proof.atMs))}
      </p>
      {receipts.length > 0 && (
        <>
          <h4 className="mt-4 text-[13px] font-medium text-mute">
            {words.receipts(receipts.length)}
          </h4>
          <ul className="mt-1 grid max-h-40 list-none gap-1 overflow-auto p-0 font-mono text-[13px]">
            {receipts.map((receipt) => (
              <li key={receipt.id}>
                <a
                  className="inline-block py-0.5 break-all underline underline-offset-2"
                  href={address(`/api/tryon/receipts/${receipt.id}`)}
                >
                  {receipt.id}
                </a>
              </li>
            ))}
          </ul>
          <p className="mt-3 text-[13.5px] text-pretty text-mute">
            {words.proves}{" "}
            <a className="underline" href={address("/.well-known/tryonai-receipt-keys.json")}>
              {words.keys}
            </a>
          </p>
        </>
      )}
      <div className="mt-auto flex flex-wrap gap-2 pt-4">
        {receipts.length > 0 && <DownloadReceipts receipts={receipts} />}
        <Button size="small" onClick={onClose}>
          {words.close}
        </Button>
      </div>
    </div>
  );
}

/** When the last of them was gone, by the server's database. */
function lastOf(receipts: Receipt[]): string {
  const moments = receipts.map((receipt) => receipt.statement.erased_at).sort();
  return moments[moments.length - 1] ?? "";
}

function DownloadReceipts({ receipts }: { receipts: Receipt[] }) {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    const text = JSON.stringify(receipts.length === 1 ? receipts[0] : receipts, null, 2);
    const made = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [receipts]);
  if (url === null) return null;
  return (
    <a href={url} download={words.fileName} className={buttonClass("ink", "small")}>
      <Download aria-hidden className="size-[18px]" /> {words.download(receipts.length)}
    </a>
  );
}

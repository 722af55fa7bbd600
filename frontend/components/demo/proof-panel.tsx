import { Download, ShieldCheck } from "lucide-react";
import { useEffect, useState } from "react";
import { Button, buttonClass } from "@/components/ui/button";
import { instant } from "@/lib/format";
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
  return (
    <div role="status" className="flex flex-auto flex-col animate-[rise_.3s_ease-out]">
      <h3 className="heading flex items-center gap-2.5 text-lg font-semibold">
        <ShieldCheck aria-hidden className="size-6 text-ok" /> {words.title(proof.sessions)}
      </h3>
      <p className="mt-3 text-[15px]">{words.when(instant(proof.atMs))}</p>
      {receipts.length > 0 && (
        <>
          <p className="mt-3 text-sm text-mute">{words.proves}</p>
          <ul className="mt-3 mb-4 grid list-none gap-1 p-0 font-mono text-[13px]">
            {receipts.map((receipt) => (
              <li key={receipt.id}>
                <a
                  className="break-all underline underline-offset-2"
                  href={address(`/api/tryon/receipts/${receipt.id}`)}
                >
                  {receipt.id}
                </a>
              </li>
            ))}
          </ul>
        </>
      )}
      <div className="mt-auto flex flex-wrap gap-2 pt-3">
        {receipts.length > 0 && <DownloadReceipts receipts={receipts} />}
        <Button size="small" onClick={onClose}>
          {words.close}
        </Button>
      </div>
    </div>
  );
}

function DownloadReceipts({ receipts }: { receipts: Proof["receipts"] }) {
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

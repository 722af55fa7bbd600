import { Checkbox } from "@/components/ui/checkbox";
import type { Engine } from "@/lib/api-client";
import { messages } from "@/lib/messages";
import type { Options } from "@/lib/reducer";

const words = messages.leave;

interface LeaveBarProps {
  options: Options;
  engine: Engine | null;
  onChange: (options: Partial<Options>) => void;
}

/** What has to be asked before a photo may go, where this server asks for it. */
export function LeaveBar({ options, engine, onChange }: LeaveBarProps) {
  const egress = engine?.egress === true;
  if (!egress && options.consent === null) return null;
  return (
    <fieldset className="m-0 border-0 border-t border-line bg-accent-soft px-5 py-3 lg:px-6.5">
      <legend className="sr-only">{words.title}</legend>
      {egress && (
        <Checkbox
          label={words.egress(engine.name)}
          checked={options.allowEgress}
          onChange={(allowEgress) => onChange({ allowEgress })}
        />
      )}
      {options.consent !== null && (
        <Checkbox
          label={words.consent}
          checked={options.consent}
          onChange={(consent) => onChange({ consent })}
        />
      )}
    </fieldset>
  );
}

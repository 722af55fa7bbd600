import { Logo } from "@/components/ui/logo";
import { messages } from "@/lib/messages";

const words = messages.footer;

export function Footer({ address }: { address: (path: string) => string }) {
  const groups: [string, [string, string][]][] = [
    [
      words.product,
      [
        ["#preview", messages.nav.preview],
        ["#privacy", messages.nav.privacy],
        ["#pricing", messages.nav.pricing],
      ],
    ],
    [
      words.developers,
      [
        [address("/api/docs"), messages.nav.docs],
        [address("/api/openapi.json"), words.openapi],
        [address("/api/health"), words.health],
        [address("/api/tryon/engines"), words.engines],
      ],
    ],
    [words.project, [["/licences.txt", words.licences]]],
  ];
  return (
    <footer className="py-11 lg:pb-14">
      <div className="mx-auto grid w-[min(1200px,100%-2rem)] grid-cols-2 gap-8 lg:w-[min(1200px,100%-3rem)] lg:grid-cols-[1.6fr_1fr_1fr_1fr]">
        <div className="max-lg:col-span-2">
          <Logo />
          <p className="mt-3 max-w-[28em] text-sm text-mute">{words.about}</p>
          <p className="mt-2 max-w-[28em] text-sm text-mute">{words.samples}</p>
        </div>
        {groups.map(([title, links]) => (
          <div key={title}>
            <h2 className="mb-2 text-[13px] font-medium text-mute">{title}</h2>
            <ul className="list-none p-0">
              {links.map(([href, text]) => (
                <li key={href}>
                  <a
                    href={href}
                    className="inline-block py-1 text-[15px] no-underline hover:underline"
                  >
                    {text}
                  </a>
                </li>
              ))}
            </ul>
          </div>
        ))}
      </div>
    </footer>
  );
}

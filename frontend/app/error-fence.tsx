import { Component, type ReactNode } from "react";
import { Button } from "@/components/ui/button";
import { messages } from "@/lib/messages";

/** A mistake of ours shows words and a way on, not an empty page. */
export class ErrorFence extends Component<{ children: ReactNode }, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  override render() {
    if (!this.state.broken) return this.props.children;
    return (
      <main className="mx-auto max-w-xl px-5 py-24">
        <h1 className="heading text-3xl font-semibold">{messages.crash.title}</h1>
        <p className="mt-3 mb-6 text-mute">{messages.crash.text}</p>
        <Button tone="accent" onClick={() => location.reload()}>
          {messages.crash.reload}
        </Button>
      </main>
    );
  }
}

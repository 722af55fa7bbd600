import type { Session } from "@/lib/api-client";
import type { Picture } from "@/lib/picture";

/** A session as the server answers it. */
export function session(status: Session["status"], change: Partial<Session> = {}): Session {
  const pictures = "/api/tryon/sessions/one";
  return {
    id: "one",
    status,
    engine: "warp",
    category: "auto",
    mode: "balanced",
    seed: 1,
    garment_id: "henley",
    created_at: "2026-11-22T10:00:00.000Z",
    updated_at: "2026-11-22T10:00:01.000Z",
    started_at: null,
    finished_at: null,
    expires_at: "2026-11-23T10:00:00.000Z",
    stage: null,
    progress: null,
    queue_position: null,
    attempts: 1,
    warnings: [],
    quality: null,
    provenance: null,
    error_code: status === "failed" ? "no_person" : null,
    error_reason: status === "failed" ? "No person was found." : null,
    input_image_url: `${pictures}/input?expires=1&signature=a`,
    garment_image_url: `${pictures}/garment?expires=1&signature=b`,
    output_image_url: status === "completed" ? `${pictures}/output?expires=1&signature=c` : null,
    ...change,
  };
}

export function picture(name: string): Picture {
  return { blob: new Blob([name]), url: `blob:${name}`, name, sampleId: null };
}

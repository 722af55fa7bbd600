/** Every word of the page, in one place. */

import type { RejectionCode } from "./picture";
import type { Category, Hindrance, Mode, Refusal } from "./reducer";

const plural = (count: number, one: string, many: string) => `${count} ${count === 1 ? one : many}`;

const SUFFIXES = { one: "st", two: "nd", few: "rd", other: "th", zero: "th", many: "th" };
const RULES = new Intl.PluralRules("en", { type: "ordinal" });
const ordinal = (place: number) => `${place}${SUFFIXES[RULES.select(place)]}`;

export const STEPS = ["Uploaded", "Photo", "Garment", "Fitting", "Finish"] as const;

/** What the engines call their stages: which of the steps it is, and what to say meanwhile. */
const STAGES: Record<string, { step: number; text: string }> = {
  pose: { step: 1, text: "Finding you in the photo" },
  person: { step: 1, text: "Finding you in the photo" },
  garment: { step: 2, text: "Reading the garment" },
  parsing: { step: 2, text: "Telling clothes from skin" },
  targets: { step: 3, text: "Measuring" },
  warping: { step: 3, text: "Fitting the garment" },
  composition: { step: 4, text: "Putting the picture together" },
  compose: { step: 4, text: "Putting the picture together" },
  quality: { step: 4, text: "Looking it over" },
};

/** An engine that is plugged in may name stages that we have never heard of. */
export function stage(name: string | null): { step: number; text: string } {
  return (name !== null && STAGES[name]) || { step: 1, text: "Working" };
}

/**
 * What the server's refusals of a try-on are called here, and what to do; null where its own words
 * have the numbers.
 */
const PROBLEMS: Record<string, [string, string | null]> = {
  body_too_large: ["The pictures are too large.", "Together they are more than the server takes."],
  egress_not_allowed: [
    "Photos may not leave this server.",
    "Its operator has not allowed this engine to send them elsewhere.",
  ],
  engine_unavailable: [
    "The engine is not available.",
    "It could not be made ready; the operator of this server finds the reason in its log.",
  ],
  file_empty: ["A file is empty.", null],
  file_missing: ["A picture is missing.", "Choose it once more."],
  file_too_large: ["A file is too large.", null],
  garment_unknown: ["This garment is not offered any more.", "Choose another one."],
  idempotency_mismatch: [
    "This try was sent before with other pictures.",
    "Press the button again.",
  ],
  image_dimensions: ["A picture has the wrong size.", null],
  image_invalid: ["A picture could not be read.", null],
  internal_error: [
    "The server made a mistake.",
    "Please try again; its operator finds it in the log.",
  ],
  queue_full: ["Many are waiting already.", "The queue is full for the moment."],
  rate_limited: ["That was many tries in a short time.", ""],
  storage_full: ["The server's disk is full.", "Its operator has to make room."],
  unavailable: [
    "The server is out of order for a moment.",
    "Something that it needs, such as its database, does not answer.",
  ],
  unsupported_media_type: ["This kind of file is not taken.", null],
  user_token_invalid: ["The server does not know this browser's key.", "Load the page again."],
  validation_failed: ["The server does not take one of the options.", "Choose others below."],
};

/** A refusal in a shopper's words: what happened, and what to do about it. */
export function problem(refusal: Refusal): { title: string; text: string } {
  const [title, text] = PROBLEMS[refusal.code] ?? [refusal.title, null];
  return { title, text: text ?? withoutFields(refusal.detail) };
}

/** The form's fields as the page calls them. */
const FIELDS: Record<string, string> = {
  person_image: "your photo",
  garment_image: "your garment",
  garment_id: "the garment",
};

/** The server speaks to programmers: it names fields, which nobody sees here. */
function withoutFields(detail: string): string {
  const named = detail.replace(/\w+/g, (word) => FIELDS[word] ?? word);
  return named.charAt(0).toUpperCase() + named.slice(1);
}

export const messages = {
  name: "TryOnAI",
  skip: "Skip to the try-on",
  nav: {
    label: "Main",
    preview: "Preview",
    how: "How it works",
    developers: "Developers",
    privacy: "Privacy",
    pricing: "Pricing",
    docs: "API docs",
    toDark: "Use dark colours",
    toLight: "Use light colours",
  },
  health: {
    ok: (waiting: number) => (waiting === 0 ? "Server ready" : `Ready, ${waiting} waiting`),
    degraded: "Server has a problem",
    unavailable: "Server not available",
    unknown: "Asking the server…",
  },
  hero: {
    eyebrow: "Runs on your own server",
    title: "See it on you before you buy it.",
    lead: "Add one photo of yourself and one picture of a garment. TryOnAI shows you wearing it, then erases your photo: when its time is up, or the moment you say so.",
    tryIt: "Try it now",
    docs: "API docs",
    facts: ["No account", "No tracking", "Delete any time"],
    before: "Before",
    after: "After",
    compare: "Compare before and after",
    caption: "Made by this software",
    hint: "The person is computer-generated",
    garment: "Print T-shirt",
    garmentKind: "Sample garment",
    alt: {
      before: "A computer-generated woman in a mustard-yellow T-shirt",
      after: "The same woman in a white T-shirt with a sunset print",
      garment: "The white T-shirt, laid flat",
    },
  },
  demo: {
    title: "Product Preview",
    lead: "Use your own pictures, or pick a sample person and a sample garment and press the button.",
    startOver: "Start over",
  },
  person: {
    title: "Your photo",
    rules: "JPEG, PNG, WebP",
    empty: "Add your photo",
    emptyHint:
      "Drop it anywhere, browse, or paste with Ctrl V. Large photos are made smaller first.",
    emptyHintTouch: "Choose one or take one. Large photos are made smaller first.",
    upload: "Upload",
    camera: "Camera",
    paste: "Paste",
    replace: "Replace",
    remove: "Remove your photo",
    samples: "Or use a sample person",
    generated: "computer-generated",
    preparing: "Getting the picture ready…",
    alt: "The photo that will be used",
    noSamples: "The sample people could not be loaded.",
  },
  garment: {
    title: "Garment",
    filter: "Kind of garment",
    all: "All",
    categories: { tops: "Tops", bottoms: "Bottoms", "one-pieces": "Dresses" },
    samples: "Sample garments",
    own: "Add your own garment",
    ownHint: "Drop it here, paste, or browse",
    ownChosen: "Your own garment",
    topsOnly: (person: string) =>
      `${person} is shown to the hips, which is enough for tops. For the rest choose somebody who is shown in full.`,
    replace: "Choose another",
    remove: "Remove your garment",
    noSamples: "The sample garments could not be loaded.",
    reload: "Load again",
    tips: "For the best result",
    tipsText:
      "One person, facing the camera, arms a little away from the body, in plain light. The garment alone, laid flat on a plain ground.",
  },
  result: {
    title: "Result",
    empty: "Your picture appears here",
    emptyHint: "It takes a few seconds. You can watch each step.",
    madeIn: (seconds: string) => `Made in ${seconds}`,
    before: "Before",
    after: "After",
    compare: "Compare before and after",
    compareValue: (percent: number) => `${percent} % of the picture shows before`,
    alt: "The AI preview of the garment on the person",
    altBefore: "The photo before",
    preview: "AI preview, fit may differ",
    download: "Download",
    share: "Share",
    again: "Make it again",
    loading: "Loading the picture…",
    notLoaded: "The picture could not be loaded.",
    remarks: "Good to know about this picture",
    noRemarks:
      "The engine found nothing to remark. How the garment falls and whether it fits, no picture can promise.",
    fileName: "tryon-preview",
  },
  run: {
    press: "Try it on",
    again: "Try it on again",
    cancel: "Cancel",
    cancelUpload: "Stop the upload",
    progress: "Progress",
    uploading: "Uploading",
    checking: "The server is checking the pictures",
    queue: (place: number) => (place === 1 ? "Next in the queue" : `Number ${place} in the queue`),
    queueBig: (place: number) => (place === 1 ? "Next" : ordinal(place)),
    inQueue: "in the queue",
    waiting: "Waiting for a free place",
    closable: "You may close this page; it goes on.",
    soFar: (time: string) => `${time} so far`,
    done: "Done",
    doneIn: (seconds: string) => `Done in ${seconds}`,
    session: "Session",
    next: "Change the garment and press again; the photo stays.",
    noAnswer: "The server does not answer. It is asked again by itself.",
    attempt: (count: number) => `Attempt ${count}`,
    hindered: {
      "needs both": "Add a photo and choose a garment first.",
      "needs person": "Add your photo first.",
      "needs garment": "Choose a garment first.",
      "needs other garment":
        "This sample shows the upper body only: choose a top, or somebody who is shown in full.",
      "needs leave": "Please answer the question above first.",
      preparing: "The picture is being made ready.",
      busy: "A picture is being made.",
      limited: "Please wait a moment.",
      offline: "You are offline.",
    } satisfies Record<Hindrance, string>,
    ready: "Ready when you are.",
    finished: "The picture is ready.",
  },
  options: {
    title: "Options",
    category: "Kind of garment",
    categories: {
      auto: "Find out",
      tops: "Top",
      bottoms: "Trousers or skirt",
      "one-pieces": "Dress",
    } satisfies Record<Category, string>,
    mode: "Effort",
    modes: { fast: "Fast", balanced: "Balanced", quality: "Best" } satisfies Record<Mode, string>,
    retention: "Erase everything after",
    retentionDefault: "The server's time",
    retentions: [
      [600, "10 minutes"],
      [3600, "1 hour"],
      [21600, "6 hours"],
    ] as const,
    deleteInputs: "Erase my photo on the server as soon as the picture is ready",
  },
  leave: {
    title: "Before a photo is sent",
    egress: (engine: string) =>
      `The engine “${engine}” sends the photo to another service. I allow it.`,
    // Its version is CONSENT_VERSION in lib/use-try-on.ts.
    consent:
      "I agree that this server stores my photo to make the preview, until it is erased. I am in the photo, or have leave of the person who is.",
  },
  failed: {
    title: "The picture could not be made.",
    kept: "Your pictures are still here.",
    retry: "Try again",
    otherPhoto: "Choose another photo",
    otherGarment: "Choose another garment",
    code: (code: string) => `Code: ${code}`,
    titles: {
      no_person: "No person found.",
      several_people: "More than one person.",
      person_from_behind: "Seen from behind.",
      body_out_of_frame: "Too little of the body shows.",
      image_too_small: "The person is too small.",
      garment_not_found: "No garment found.",
      garment_background: "The garment is hard to see.",
      garment_unsupported: "This garment cannot be tried on.",
      engine_timeout: "It took too long.",
      engine_out_of_memory: "The photo was too much.",
    } as Record<string, string>,
    photo: [
      "no_person",
      "several_people",
      "person_from_behind",
      "body_out_of_frame",
      "image_too_small",
    ],
    garment: ["garment_not_found", "garment_background", "garment_unsupported"],
  },
  limited: {
    goOn: (clock: string) => `You can go on in ${clock}.`,
    button: (clock: string) => `Try again in ${clock}`,
    kept: "The button below wakes by itself; your pictures are kept.",
  },
  offline: {
    title: "You are offline.",
    text: "Your pictures are kept in this tab. It goes on by itself when the connection is back.",
    back: "Back online, going on.",
  },
  expired: {
    title: "This look has expired",
    text: "Its time is over: nobody can open it any more, and the server erases its pictures.",
    erased: (at: string) => `Erased from the server on ${at}.`,
    receipt: "Its deletion receipt",
  },
  refused: {
    noDetail: "Please try again, or use other pictures.",
  },
  deleted: {
    title: "Deleted",
    text: "Nothing of it is on the server any more.",
  },
  rejected: {
    empty: ({ name }) => [`${name} is empty.`, "Choose another file."],
    unreadable: ({ name }) => [
      `${name} cannot be read here.`,
      "Choose a JPEG, PNG or WebP picture.",
    ],
    too_small: ({ name, width, height, limit }) => [
      `${name} is ${width} × ${height} pixels.`,
      `Each side needs at least ${limit}.`,
    ],
    too_large: ({ name, limit }) => [
      `${name} is too large.`,
      `At most ${Math.floor((limit ?? 0) / 2 ** 20)} MB are taken.`,
    ],
  } satisfies Record<RejectionCode, (facts: RejectionFacts) => [string, string]>,
  unknownFile: "This file",
  drop: { person: "Drop it as your photo", garment: "Drop it as the garment" },
  pasteFailed: "There is no picture to paste.",
  history: {
    title: "My sessions",
    note: "Known to this browser only",
    empty: "Nothing yet. What you try on is listed here until it is erased.",
    own: "Own garment",
    status: { created: "Waiting", processing: "Working", completed: "Ready", failed: "Failed" },
    goneIn: (time: string) => `erased in ${time}`,
    show: "Show",
    shown: "Shown",
    watch: "Watch",
    look: "See why",
    remove: "Delete this session",
    erased: "Erased",
    erasedAt: (at: string) => `Erased when its time was over, ${at}`,
    receipt: "Receipt",
    forget: "Forget this entry",
    forgetAll: (count: number) => `Forget the ${count} erased ones`,
    more: (count: number) => `Show ${count} more`,
  },
  erase: {
    title: "Your photos",
    nothing: "Nothing of yours is on the server.",
    unknown: "The server has not said yet what it has of yours.",
    until: "until everything is erased",
    stored: (sessions: number, pictures: number, until: string) =>
      `${plural(sessions, "session", "sessions")} with ${plural(pictures, "picture", "pictures")} on the server, the last one until ${until}`,
    facts: [
      "Place, time and camera data are removed before anything is stored",
      "No other browser can open them; a picture's address works for minutes",
      "Nobody needs to remember: the server erases by itself",
    ],
    button: "Delete my photos now",
    confirmTitle: "Delete everything now?",
    confirmOneTitle: "Delete this session now?",
    confirm: (sessions: number, pictures: number) =>
      `${plural(sessions, "session", "sessions")} with ${plural(pictures, "picture", "pictures")} ${sessions === 1 ? "leaves" : "leave"} the server at once. This cannot be undone.`,
    keep: "Keep",
    go: (pictures: number) => (pictures === 0 ? "Delete" : `Delete ${pictures}`),
    going: "Deleting…",
    failed: "It could not be deleted yet. Please try again.",
  },
  proof: {
    title: (sessions: number) => `${plural(sessions, "session", "sessions")} deleted`,
    when: (at: string) => `Gone from the server since ${at}.`,
    erased: (pictures: number, size: string, at: string) =>
      `${plural(pictures, "picture", "pictures")}, ${size}, gone from the server since ${at}.`,
    receipts: (count: number) => (count === 1 ? "Deletion receipt" : "Deletion receipts"),
    proves:
      "Signed by this server. Whoever has the receipt can check later, without asking the server, that it stated this and that nothing in it was changed. What a backup or somebody else's copy holds it cannot show.",
    keys: "Keys to check it with",
    download: (count: number) => (count === 1 ? "Download the receipt" : "Download the receipts"),
    fileName: "deletion-receipt.json",
    close: "Done",
  },
  how: {
    title: "How it works",
    steps: [
      [
        "One photo, one garment",
        "Your own pictures or the samples. The browser makes large photos smaller and leaves only pixels in the file.",
      ],
      [
        "A preview in seconds",
        "The server finds the body, bends the garment onto it and puts the light back. You see each step as it happens.",
      ],
      [
        "Gone when you say so",
        "Everything has a time to be erased from the start. Delete it earlier with one button.",
      ],
    ],
  },
  developers: {
    title: "The same flow, as a REST API",
    points: [
      "Create a session, poll it, fetch the picture: three calls",
      "An OpenAPI document, and a TypeScript client typed from it",
      "Rate limits, expiry and errors in standard headers and documents",
    ],
    docs: "Open the API docs",
    example: "Example with curl",
    comments: ["start a try-on", "ask until status is completed", "fetch the picture"],
  },
  privacy: {
    title: "What happens to a photo",
    lead: "Each sentence is something the software does, not something it hopes for.",
    facts: [
      [
        "Only pixels are kept",
        "The server draws every picture anew before it stores it. Place, time, camera and file name stay behind.",
      ],
      [
        "No stranger can open it",
        "Your browser makes up a secret; the server keeps a keyed hash of it. Someone else's session looks like one that does not exist.",
      ],
      [
        "It has an end",
        "Each session is born with the time it will be erased. From then on it is invisible, and its files go within a minute.",
      ],
      [
        "Delete means now",
        "One request erases the photo, the result and the record, also while the picture is being made.",
      ],
    ],
  },
  pricing: {
    title: "Pricing",
    price: "Free",
    plan: "Self-hosted",
    text: "Open source under Apache-2.0. You bring the computer; a laptop without a graphics card is enough.",
    points: [
      "No account, no key, no quota by us",
      "CPU engine included; other engines plug in",
      "Your server, your rules, your data",
    ],
    start: "Try it here",
  },
  footer: {
    about: "Self-hosted virtual try-on. Results are AI previews, not a promise of fit.",
    samples: "The sample people are computer-generated; nobody in them exists.",
    product: "Product",
    developers: "Developers",
    project: "Project",
    openapi: "OpenAPI document",
    health: "Server health",
    engines: "Engines",
    licences: "Licences",
  },
  crash: {
    title: "This page has a mistake.",
    text: "Your sessions are safe on the server.",
    reload: "Load the page again",
  },
};

interface RejectionFacts {
  name: string;
  width?: number;
  height?: number;
  limit?: number;
}

/** A picture between the visitor's disk and the upload: read, made smaller, drawn anew. */

export const LONG_SIDE = 2048;
const QUALITY = 0.92;
const TAKEN = ["image/jpeg", "image/png", "image/webp"];

export interface Picture {
  blob: Blob;
  /** An object address for <img>; release it with `release`. */
  url: string;
  name: string;
  /** The catalogue's person, where it is one. */
  sampleId: string | null;
}

export interface PictureLimits {
  minSide: number;
  maxBytes: number;
}

export type RejectionCode = "empty" | "unreadable" | "too_small" | "too_large";

/** Why a file is not taken, before anything is sent. */
export class Rejection extends Error {
  readonly code: RejectionCode;
  readonly facts: { name: string; width?: number; height?: number; limit?: number };

  constructor(code: RejectionCode, facts: Rejection["facts"]) {
    super(code);
    this.code = code;
    this.facts = facts;
  }
}

/** What decodes and encodes; the browser's own, or another in tests. */
export interface Canvas {
  decode(file: Blob): Promise<ImageBitmap | HTMLImageElement>;
  encode(
    picture: ImageBitmap | HTMLImageElement,
    size: { width: number; height: number },
    type: string,
  ): Promise<Blob | null>;
}

/**
 * The same picture with a long side of at most 2,048 pixels and nothing but pixels in the file.
 *
 * Where the canvas fails (no memory, a browser that guards it) the file goes as it is, if the
 * server would take it: there it is drawn anew in any case. Throws Rejection.
 */
export async function preparePicture(
  file: File,
  limits: PictureLimits,
  canvas: Canvas = browserCanvas,
): Promise<Blob> {
  const name = file.name;
  if (file.size === 0) throw new Rejection("empty", { name });
  const picture = await canvas.decode(file).catch(() => {
    throw new Rejection("unreadable", { name });
  });
  const { width, height } = sizeOf(picture);
  if (Math.min(width, height) < limits.minSide) {
    throw new Rejection("too_small", { name, width, height, limit: limits.minSide });
  }
  const drawn = await redraw(picture, { width, height }, file.type, canvas);
  if ("close" in picture) picture.close();
  const chosen = drawn ?? file;
  if (drawn === null && !TAKEN.includes(file.type)) throw new Rejection("unreadable", { name });
  if (chosen.size > limits.maxBytes) {
    throw new Rejection("too_large", { name, limit: limits.maxBytes });
  }
  return chosen;
}

export function toPicture(blob: Blob, name: string, sampleId: string | null = null): Picture {
  return { blob, name, sampleId, url: URL.createObjectURL(blob) };
}

export function release(picture: Picture): void {
  URL.revokeObjectURL(picture.url);
}

/** Sizes within the long side, never larger than before and never 0. */
export function within(width: number, height: number): { width: number; height: number } {
  const scale = Math.min(1, LONG_SIDE / Math.max(width, height));
  return {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
}

async function redraw(
  picture: ImageBitmap | HTMLImageElement,
  size: { width: number; height: number },
  type: string,
  canvas: Canvas,
): Promise<Blob | null> {
  // Others may be transparent, which a JPEG would turn black. Where a browser cannot write WebP
  // it answers with PNG, which the server takes too.
  const wanted = type === "image/jpeg" ? "image/jpeg" : "image/webp";
  try {
    const fitted = within(size.width, size.height);
    const drawn = await canvas.encode(picture, fitted, wanted);
    return drawn !== null && drawn.size > 0 && TAKEN.includes(drawn.type) ? drawn : null;
  } catch {
    return null;
  }
}

function sizeOf(picture: ImageBitmap | HTMLImageElement): { width: number; height: number } {
  if ("naturalWidth" in picture) {
    return { width: picture.naturalWidth, height: picture.naturalHeight };
  }
  return { width: picture.width, height: picture.height };
}

const browserCanvas: Canvas = {
  async decode(file) {
    try {
      return await createImageBitmap(file);
    } catch {
      // Some browsers show kinds in <img> that they do not make bitmaps of.
      return await decodeAsElement(file);
    }
  },
  encode(picture, { width, height }, type) {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    if (context === null) return Promise.resolve(null);
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, width, height);
    return new Promise((resolve) => canvas.toBlob(resolve, type, QUALITY));
  },
};

async function decodeAsElement(file: Blob): Promise<HTMLImageElement> {
  const url = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    return image;
  } finally {
    URL.revokeObjectURL(url);
  }
}

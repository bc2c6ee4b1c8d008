/**
 * Sizes as people write and read them. Units are powers of 1024.
 */
import { z } from "zod";

const UNITS = ["", "K", "M", "G", "T"];

/** A text like `20G`, read as bytes. */
export const Size = z.string().transform((text, context) => {
  const bytes = parseSize(text);
  if (bytes !== undefined) return bytes;
  context.addIssue({ code: "custom", message: "must be a size such as 20G or 500M" });
  return z.NEVER;
});

/** `20G` → bytes; undefined when it is none that any disk has. Units are powers of 1024. */
export function parseSize(text: string): number | undefined {
  const [, number, unit] = /^(\d{1,12}(?:\.\d{1,3})?)([KMGT]?)(?:i?B)?$/.exec(text) ?? [];
  if (number === undefined) return undefined;
  const bytes = Math.floor(Number(number) * 1024 ** UNITS.indexOf(unit ?? ""));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** As a person reads it: `1.4 GiB`. */
export function formatSize(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const unit = power === 0 ? "B" : `${UNITS[power]}iB`;
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${unit}`;
}

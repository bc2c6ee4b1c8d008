/**
 * Headers of the ar archives that Debian packages are (ar(5), deb(5)).
 */
import { FarmError } from "../base/error.ts";

export const AR_MAGIC = "!<arch>\n";
export const AR_HEADER_BYTES = 60;

export interface ArMember {
  readonly name: string;
  readonly size: number;
}

/** @throws FarmError PACKAGE_MALFORMED */
export function parseArHeader(header: Uint8Array): ArMember {
  const text = Buffer.from(header).toString("latin1");
  const size = text.slice(48, 58).trim();
  if (header.length !== AR_HEADER_BYTES || !text.endsWith("`\n") || !/^\d{1,10}$/.test(size)) {
    throw new FarmError("PACKAGE_MALFORMED", { detail: "a package has a damaged archive member" });
  }
  return { name: text.slice(0, 16).trim().replace(/\/$/, ""), size: Number(size) };
}

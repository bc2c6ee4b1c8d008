/**
 * What gpgv says of one detached signature, in the lines that it writes for programs (GnuPG's doc/DETAILS, "Format of
 * the --status-fd output").
 */

export type SignatureSaid =
  | {
      readonly kind: "good";
      /** Fingerprint of the primary key, whichever of its keys signed. */
      readonly key: string;
      /** Number of the digest's algorithm (RFC 4880, 9.4). */
      readonly digestAlgorithm: number;
    }
  /** Good by a key whose validity had ended when it was made, or it was to be believed only until a time that is over. */
  | { readonly kind: "expired"; readonly key: string }
  | { readonly kind: "revoked"; readonly key: string }
  | { readonly kind: "bad" }
  /** By a key that was not given; its id is the signature's own word. */
  | { readonly kind: "strangeKey"; readonly key: string }
  | { readonly kind: "several" }
  | { readonly kind: "unreadable" };

const PREFIX = "[GNUPG:] ";
/** The reason that ERRSIG gives where the key is missing. */
const NO_KEY = "9";

/** Never throws; what is none of the other answers is `unreadable`. */
export function readGpgStatus(text: string): SignatureSaid {
  const lines = text
    .split("\n")
    .filter((line) => line.startsWith(PREFIX))
    .map((line) => line.slice(PREFIX.length).split(" "));
  const all = (word: string) => lines.filter(([first]) => first === word).map(([, ...rest]) => rest);
  const [one] = all("NEWSIG");
  if (one === undefined) return { kind: "unreadable" };
  if (all("NEWSIG").length > 1) return { kind: "several" };
  if (all("BADSIG").length > 0) return { kind: "bad" };
  const [valid] = all("VALIDSIG");
  if (valid !== undefined) return judged(valid, all);
  const [key = "", , , , , why] = all("ERRSIG")[0] ?? [];
  return why === NO_KEY ? { kind: "strangeKey", key } : { kind: "unreadable" };
}

/** A signature that fits its document. */
function judged(valid: readonly string[], all: (word: string) => string[][]): SignatureSaid {
  const [, , madeAt = "", , , , , digest = "", , key = ""] = valid;
  if (!/^(?:[0-9A-F]{40}|[0-9A-F]{64})$/.test(key)) return { kind: "unreadable" };
  if (all("REVKEYSIG").length > 0) return { kind: "revoked", key };
  if (all("EXPSIG").length > 0) return { kind: "expired", key };
  // Old packages stay signed when their key's time is over; what is signed after that is nobody's.
  const ends = all("KEYEXPIRED").map(([end = ""]) => timeOf(end));
  const wasValid = ends.length > 0 && ends.every((end) => timeOf(madeAt) <= end);
  if (all("EXPKEYSIG").length > 0 && !wasValid) return { kind: "expired", key };
  const isSaid = all("GOODSIG").length + all("EXPKEYSIG").length === 1;
  return isSaid ? { kind: "good", key, digestAlgorithm: Number(digest) } : { kind: "unreadable" };
}

/** Seconds since 1970, as a number or as ISO 8601 without signs (20260829T120000). NaN, which no comparison likes, else. */
function timeOf(text: string): number {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)$/.exec(text);
  if (match === null) return /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
  const [, year, month, day, hour, minute, second] = match;
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`) / 1000;
}

/**
 * The changelog of a kernel's Debian source package (deb-changelog(5)): for each upload which stable releases it took in,
 * with the subjects of their commits, and what the distribution changed itself. Read as it comes, and nothing that a package
 * says can make it large.
 */
import { FarmError } from "../base/error.ts";

export interface ChangelogEntry {
  readonly source: string;
  readonly version: string;
  readonly suite: string;
  /** `2026-05-26`, as the trailer says it: when the source was uploaded. Undefined where there is no trailer. */
  readonly day?: string;
  /** Stable releases that this upload took in. */
  readonly stable: readonly string[];
  readonly bullets: readonly Bullet[];
}

/** One change. */
interface Bullet {
  /** As written, its lines joined. */
  readonly text: string;
  /** The stable release that it came with; undefined for what the distribution did itself. */
  readonly stable?: string;
}

export interface Changelog {
  /** Newest first, as in the file. */
  readonly entries: readonly ChangelogEntry[];
  /** Its older entries were removed: what is not in it may still have been done. */
  readonly isTrimmed: boolean;
  /** Entries without a trailer that can be read. */
  readonly damaged: number;
}

/** Linux's has 4 MB, 300 entries and 70,000 lines. */
const MOST = { bytes: 64 << 20, entries: 5000, lines: 1_000_000 } as const;
const LONGEST_LINE = 4096;
const LONGEST_BULLET = 2048;

/** @throws FarmError PACKAGE_MALFORMED when it is larger, or has more in it, than any real one */
export async function readDebChangelog(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  what: string,
): Promise<Changelog> {
  const reader = new ChangelogReader(what);
  const decoder = new TextDecoder();
  let [rest, bytes] = ["", 0];
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > MOST.bytes) throw tooMuch(what, `more than ${MOST.bytes} bytes`);
    const lines = `${rest}${decoder.decode(chunk, { stream: true })}`.split("\n");
    // Of a line without end only its beginning is of interest.
    rest = (lines.pop() ?? "").slice(0, LONGEST_LINE);
    for (const line of lines) reader.line(line);
  }
  reader.line(rest);
  return reader.end();
}

const HEADER = /^([a-z0-9][a-z0-9+.-]{0,99}) \(([^()\s]{1,100})\) ([^;]{1,200});/;
const TRAILER = /^ -- .* {1,2}(?:[A-Za-z]{3}, +)?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) \d\d:\d\d:\d\d [+-]\d{4}$/;
const REMOVED = /^#?\s*Older entries have been removed/i;
/** Debian lists the changes of each stable release below its address, Ubuntu below a change of its own. */
const STABLE_PLACE = /^\s+https?:\/\/\S{0,200}ChangeLog-(\d[\w.-]{0,40})$/;
const STABLE_UPDATE = /\bupdate: v?(\d+\.\d+(?:\.\d+)?) upstream stable release/;

class ChangelogReader {
  readonly #what: string;
  readonly #entries: ChangelogEntry[] = [];
  #open: OpenEntry | undefined;
  #isTrimmed = false;
  #damaged = 0;
  #lines = 0;

  constructor(what: string) {
    this.#what = what;
  }

  line(raw: string): void {
    if (++this.#lines > MOST.lines) throw tooMuch(this.#what, `more than ${MOST.lines} lines`);
    const line = raw.slice(0, LONGEST_LINE).trimEnd();
    const [, source, version, suite] = HEADER.exec(line) ?? [];
    if (source !== undefined && version !== undefined && suite !== undefined) {
      this.#close(undefined);
      this.#open = new OpenEntry({ source, version, suite: suite.trim() });
    } else if (line.startsWith(" -- ")) this.#close(dayOf(line));
    else if (REMOVED.test(line)) this.#isTrimmed = true;
    else if (line !== "") this.#open?.line(line);
  }

  end(): Changelog {
    this.#close(undefined);
    return { entries: this.#entries, isTrimmed: this.#isTrimmed, damaged: this.#damaged };
  }

  #close(day: string | undefined): void {
    if (this.#open === undefined) return;
    if (day === undefined) this.#damaged++;
    if (this.#entries.length >= MOST.entries) throw tooMuch(this.#what, `more than ${MOST.entries} entries`);
    this.#entries.push(this.#open.closed(day));
    this.#open = undefined;
  }
}

/** An entry while its lines come. */
class OpenEntry {
  readonly #head: Pick<ChangelogEntry, "source" | "version" | "suite">;
  readonly #stable: string[] = [];
  readonly #bullets: Bullet[] = [];
  /** The stable release whose changes come. */
  #release: string | undefined;
  #text: string | undefined;

  constructor(head: Pick<ChangelogEntry, "source" | "version" | "suite">) {
    this.#head = head;
  }

  line(line: string): void {
    const place = STABLE_PLACE.exec(line)?.[1];
    const isTop = line.startsWith("  * ");
    if (place !== undefined) this.#beginRelease(place);
    else if (isTop || /^ {4}[-*] /.test(line)) {
      this.#endBullet();
      this.#text = line.slice(isTop ? 4 : 6);
      if (isTop) this.#release = undefined;
      const update = isTop ? STABLE_UPDATE.exec(line)?.[1] : undefined;
      if (update !== undefined) this.#beginRelease(update);
    } else if (/^ {2}\[ .* \]$/.test(line)) {
      this.#endBullet();
      this.#release = undefined;
    } else if (this.#text !== undefined && this.#text.length < LONGEST_BULLET)
      this.#text += ` ${line.trim()}`;
  }

  closed(day: string | undefined): ChangelogEntry {
    this.#endBullet();
    return {
      ...this.#head,
      ...(day === undefined ? {} : { day }),
      ...{ stable: this.#stable, bullets: this.#bullets },
    };
  }

  /** What announces a release is a change of the distribution's own. */
  #beginRelease(version: string): void {
    this.#endBullet();
    this.#stable.push(version);
    this.#release = version;
  }

  #endBullet(): void {
    const text = this.#text?.slice(0, LONGEST_BULLET).trim() ?? "";
    this.#text = undefined;
    if (text === "") return;
    this.#bullets.push(this.#release === undefined ? { text } : { text, stable: this.#release });
  }
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function dayOf(line: string): string | undefined {
  const [, day = "", month = "", year = ""] = TRAILER.exec(line) ?? [];
  const index = MONTHS.indexOf(month) + 1;
  if (index === 0 || Number(day) < 1 || Number(day) > 31) return undefined;
  return `${year}-${String(index).padStart(2, "0")}-${day.padStart(2, "0")}`;
}

function tooMuch(what: string, fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", { detail: `the changelog of ${what} has ${fact}` });
}

/**
 * Unpacking a source archive of unknown virtue: every entry is judged before anything is written, and what
 * writes is shut in with nothing but its target. Where links lead is judged when all of them are there, by whoever
 * reads the tree.
 */
import { posix } from "node:path";
import type { Readable } from "node:stream";
import { Readable as NodeReadable } from "node:stream";
import { extract, type Header } from "tar-stream";
import { FarmError } from "../../base/error.ts";
import { lastLines, run } from "../../base/run.ts";
import { shutIn } from "../../base/shut-in.ts";
import { invalidDriver } from "./origin.ts";

/** Source trees of drivers are a few megabytes; the largest, with firmware, some hundred. */
export const UNPACKED_LIMIT_BYTES = 1024 ** 3;
const ENTRY_LIMIT = 200_000;

/**
 * Unpacks a tar archive, or only what is below one of its directories, into an empty directory. `open` is asked
 * for its bytes twice.
 * @throws FarmError DRIVER_INVALID naming the entry
 */
export async function unpackTar(
  open: () => AsyncIterable<Buffer>,
  name: string,
  target: string,
  signal: AbortSignal,
  only?: string,
): Promise<void> {
  const found = await judgeEntries(open(), name, only ?? "");
  if (found === 0) throw invalidDriver(`${name} holds nothing${only === undefined ? "" : ` in /${only}`}`);
  const tar = ["tar", "--extract", "--file", "-", "--no-same-owner", "--no-same-permissions"];
  // As Debian's packages write it.
  const argv = shutIn([...tar, ...(only === undefined ? [] : [`./${only}`])], { target });
  const input: Readable = NodeReadable.from(open());
  const result = await run(argv, { input, timeoutMs: 300_000 }, signal);
  if (result.exitCode === 0) return;
  throw new FarmError(result.timedOut ? "TIMED_OUT" : "DRIVER_INVALID", {
    detail: `${name} cannot be unpacked: ${lastLines(result.stderr, 3)}`,
  });
}

async function judgeEntries(bytes: AsyncIterable<Buffer>, name: string, only: string): Promise<number> {
  // Older formats than POSIX's have no name of their own in the header; its checksum is checked all the same.
  const tar = extract({ allowUnknownFormat: true } as Parameters<typeof extract>[0]);
  const source = NodeReadable.from(bytes);
  source.on("error", (fault) => tar.destroy(fault));
  source.pipe(tar);
  let [entries, size] = [0, 0];
  try {
    for await (const entry of tar) {
      const isWanted = posix.join("/", entry.header.name).startsWith(posix.join("/", only, "/"));
      const fault = faultOnTheWay(entry.header, only) ?? (isWanted ? faultOf(entry.header) : undefined);
      if (fault !== undefined)
        throw invalidDriver(`${name} holds ${JSON.stringify(entry.header.name)}, ${fault}`);
      if (isWanted) entries++;
      size += entry.header.size ?? 0;
      if (entries > ENTRY_LIMIT || size > UNPACKED_LIMIT_BYTES)
        throw invalidDriver(
          `${name} holds more than ${ENTRY_LIMIT} entries or ${UNPACKED_LIMIT_BYTES} bytes`,
        );
      entry.resume();
    }
  } catch (cause) {
    if (cause instanceof FarmError && cause.code === "DRIVER_INVALID") throw cause;
    throw invalidDriver(
      `${name} is damaged: ${cause instanceof Error ? cause.message : String(cause)}`,
      cause,
    );
  } finally {
    source.destroy();
    tar.destroy();
  }
  return entries;
}

/** What is wrong with an entry that is the wanted directory, or one above it. */
function faultOnTheWay({ name, type }: Header, only: string): string | undefined {
  const place = posix.join("/", name, "/");
  const isOnTheWay = posix.join("/", only, "/").startsWith(place);
  return only !== "" && isOnTheWay && type !== "directory"
    ? `which must be a directory and is a ${type}`
    : undefined;
}

/** What is wrong with an entry; undefined when nothing is. */
function faultOf({ name, type, linkname, mode }: Header): string | undefined {
  if (leadsOut(name)) return "which leads out of the archive";
  if (type === "link")
    return leadsOut(linkname ?? "") ? `a link out of the archive, to ${linkname}` : undefined;
  if (type === "directory" || type === "symlink") return undefined;
  if (type !== "file" && type !== "contiguous-file") return `which is a ${type}`;
  return ((mode ?? 0) & 0o6000) !== 0 ? "which is setuid or setgid" : undefined;
}

function leadsOut(path: string): boolean {
  if (path.startsWith("/") || path === "" || path.includes("\0")) return true;
  let depth = 0;
  for (const part of path.split("/")) {
    if (part === "..") depth--;
    else if (part !== "." && part !== "") depth++;
    if (depth < 0) return true;
  }
  return false;
}

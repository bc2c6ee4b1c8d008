/**
 * Unpacking a package of unknown virtue: the distribution's own tool opens it and tar writes it down, each shut in
 * with nothing but its end of a pipe and its target; what is there then is looked at before anybody uses it.
 */
import { createReadStream } from "node:fs";
import { Transform } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError, toFarmError } from "../../base/error.ts";
import { lastLines, pipeThrough, run, throwIfAborted } from "../../base/run.ts";
import { shutIn } from "../../base/shut-in.ts";
import { inspectTree } from "../tree.ts";
import type { PackageFormat } from "./package-format.ts";

export interface UnpackLimits {
  readonly bytes: number;
  readonly files: number;
}

/** The largest header packages have 0.3 GB in 40,000 files. */
const LIMITS: UnpackLimits = { bytes: 4 * 1024 ** 3, files: 400_000 };
const LAST_WORDS_MS = 500;
const TIMEOUT_MS = 300_000;
const MEMORY_BYTES = 2 * 1024 ** 3;

/**
 * Unpacks into an empty directory. Returns the seal of what is there then.
 * @throws FarmError PACKAGE_MALFORMED quoting the tool or naming what the package must not hold, TIMED_OUT
 */
export async function unpackPackage(
  file: string,
  format: Pick<PackageFormat, "toTar">,
  target: string,
  { signal, limits = LIMITS }: { readonly signal?: AbortSignal; readonly limits?: UnpackLimits } = {},
): Promise<string> {
  throwIfAborted(signal);
  const opener = pipeThrough(boxOf(format));
  const end: { opener?: number } = {};
  const opened = opener.exit.then((exitCode) => {
    end.opener = exitCode;
  });
  const source = createReadStream(file);
  const meter = tarMeter(limits);
  try {
    source.once("error", () => opener.stop());
    source.pipe(opener.stdin);
    const archive = opener.stdout.pipe(meter.stream);
    const argv = shutIn(["tar", "--extract", "--same-permissions", "--no-same-owner"], {
      target,
      memoryBytes: MEMORY_BYTES,
    });
    const result = await run(argv, { input: archive, timeoutMs: TIMEOUT_MS }, signal);
    const refuse = (fact: string) => malformed(file, fact);
    if (meter.excess() !== undefined) throw refuse(`it holds ${meter.excess()}`);
    if (result.timedOut) throw new FarmError("TIMED_OUT", { detail: `${file} takes too long to unpack` });
    // An opener that fails leaves tar with half an archive, and has the cause. One that tar left alone may wait for ever.
    await (result.exitCode === 0 ? opened : Promise.race([opened, sleep(LAST_WORDS_MS)]));
    if (end.opener !== undefined && end.opener !== 0) throw refuse(lastLines(opener.said(), 3));
    if (result.exitCode !== 0) throw refuse(lastLines(result.stderr, 3));
  } finally {
    source.destroy();
    opener.stop();
  }
  return inspectTree(target, file);
}

/** @throws FarmError TOOL_MISSING */
function boxOf({ toTar }: Pick<PackageFormat, "toTar">): string[] {
  try {
    return shutIn(toTar, { memoryBytes: MEMORY_BYTES });
  } catch (cause) {
    throw new FarmError("TOOL_MISSING", {
      detail: `${toFarmError(cause).message}, which opens packages of that kind`,
      hint: "On Debian, `apt-get install bubblewrap rpm2cpio dpkg` brings what opens packages.",
      cause,
    });
  }
}

const BLOCK_BYTES = 512;

/** Lets a tar archive pass until it holds too much. */
function tarMeter(limits: UnpackLimits) {
  let [bytes, files, untilHeader] = [0, 0, 0];
  let excess: string | undefined;
  let header = Buffer.alloc(0);
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      for (let rest = chunk; rest.length > 0; ) {
        const skipped = Math.min(untilHeader, rest.length);
        untilHeader -= skipped;
        rest = rest.subarray(skipped);
        if (rest.length === 0) break;
        const part = rest.subarray(0, BLOCK_BYTES - header.length);
        rest = rest.subarray(part.length);
        header = Buffer.concat([header, part]);
        if (header.length < BLOCK_BYTES) break;
        files++;
        untilHeader = contentBytes(header);
        header = Buffer.alloc(0);
      }
      if (bytes > limits.bytes) excess = `more than ${limits.bytes} bytes`;
      else if (files > limits.files) excess = `more than ${limits.files} files`;
      if (excess === undefined) return done(null, chunk);
      // Ending here leaves tar with half an archive, and us with the reason.
      stream.push(null);
      return undefined;
    },
  });
  return { stream, excess: () => excess };
}

/** Whole blocks of the content that a tar header announces: octal, or binary when its first bit is set. */
function contentBytes(header: Buffer): number {
  const field = header.subarray(124, 136);
  const size =
    ((field[0] as number) & 0x80) === 0
      ? Number.parseInt(field.toString("latin1").replace(/[\0 ]+$/g, "") || "0", 8)
      : Number(field.readBigUInt64BE(4));
  return Number.isFinite(size) ? Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES : 0;
}

function malformed(file: string, fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", { detail: `${file} cannot be unpacked: ${fact}`, at: { file } });
}

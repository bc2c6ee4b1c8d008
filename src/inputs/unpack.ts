/**
 * Unpacking a package of unknown virtue, from a file or while it is still coming: the distribution's own tool opens it
 * and tar writes it down, each shut in with nothing but its end of a pipe and its target; what is there then is looked
 * at before anybody uses it.
 */
import { type Readable, Transform } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError, saysDiskFull, toFarmError } from "../base/error.ts";
import { lastLines, pipeThrough, run, throwIfAborted } from "../base/run.ts";
import { shutIn } from "../base/shut-in.ts";
import { TarCopy } from "../formats/tar-copy.ts";
import { InodeCount } from "../formats/tar-entries.ts";
import type { PackageFormat } from "./package-format.ts";
import { inspectTree } from "./tree.ts";

export interface UnpackLimits {
  readonly bytes: number;
  /** Directories are files too, also those that no entry names. */
  readonly files: number;
}

/** The largest header packages have 0.3 GB in 40,000 files. */
const LIMITS: UnpackLimits = { bytes: 4 * 1024 ** 3, files: 400_000 };
const LAST_WORDS_MS = 500;
const TIMEOUT_MS = 300_000;
const MEMORY_BYTES = 2 * 1024 ** 3;

interface UnpackOptions {
  readonly signal?: AbortSignal | undefined;
  readonly limits?: UnpackLimits;
  readonly timeoutMs?: number;
}

/**
 * Unpacks into an empty directory; `what` names the package in errors. Returns the seal of what is there then.
 * @throws FarmError PACKAGE_MALFORMED quoting the tool or naming what the package must not hold, TIMED_OUT, DISK_FULL
 */
export async function unpackPackage(
  source: Readable,
  what: string,
  format: Pick<PackageFormat, "toTar">,
  target: string,
  { signal, limits = LIMITS, timeoutMs = TIMEOUT_MS }: UnpackOptions = {},
): Promise<string> {
  source.on("error", () => {}); // It ends the opener, which ends tar.
  try {
    throwIfAborted(signal);
    // What befell it before anybody listened is not said again.
    if (source.errored !== null) throw source.errored;
    await unpackFrom(source, what, format, { target, signal, limits, timeoutMs });
  } finally {
    source.destroy();
  }
  return inspectTree(target, what);
}

async function unpackFrom(
  source: Readable,
  what: string,
  format: Pick<PackageFormat, "toTar">,
  { target, signal, limits, timeoutMs }: Required<UnpackOptions> & { readonly target: string },
): Promise<void> {
  const opener = pipeThrough(boxOf(format));
  const end: { opener?: number } = {};
  const opened = opener.exit.then((exitCode) => {
    end.opener = exitCode;
  });
  const meter = tarMeter(limits);
  try {
    source.once("error", () => opener.stop());
    source.pipe(opener.stdin);
    const archive = opener.stdout.pipe(meter.stream);
    const argv = shutIn(["tar", "--extract", "--same-permissions", "--no-same-owner"], {
      target,
      memoryBytes: MEMORY_BYTES,
    });
    const result = await run(argv, { input: archive, timeoutMs }, signal);
    const refuse = (fact: string) => malformed(what, fact);
    const fault = meter.fault();
    if (fault !== undefined) throw refuse(fault);
    if (result.timedOut) throw new FarmError("TIMED_OUT", { detail: `${what} takes too long to unpack` });
    // An opener that fails leaves tar with half an archive, and has the cause. One that tar left alone may wait for ever.
    await (result.exitCode === 0 ? opened : Promise.race([opened, sleep(LAST_WORDS_MS)]));
    // A package may hold files whose names say so: it is tried again then, and comes to nothing each time.
    if (result.exitCode !== 0 && saysDiskFull(result.stderr)) throw diskFull(what);
    if (end.opener !== undefined && end.opener !== 0) throw refuse(lastLines(opener.said(), 3));
    if (result.exitCode !== 0) throw refuse(lastLines(result.stderr, 3));
    if (meter.isCut()) throw refuse("its archive ends in the middle");
  } finally {
    opener.stop();
  }
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

/** Gives tar a copy of an archive, header by header as we read it, until it holds too much. */
function tarMeter(limits: UnpackLimits) {
  const inodes = new InodeCount();
  let bytes = 0;
  let fault: string | undefined;
  /** Only that something is missing: the writer that left it out knows why. */
  let isCut = false;
  const refuse = (fact: string) => new FarmError("PACKAGE_MALFORMED", { detail: fact });
  const copy = new TarCopy(({ name }) => {
    inodes.add(name);
    if (inodes.total > limits.files) throw refuse(`it holds more than ${limits.files} files and directories`);
    return true;
  });
  const stream = new Transform({
    transform(piece: Buffer, _encoding, done) {
      try {
        bytes += piece.length;
        if (bytes > limits.bytes) throw refuse(`it holds more than ${limits.bytes} bytes`);
        return done(null, copy.push(piece));
      } catch (thrown) {
        fault = toFarmError(thrown).message;
      }
      // Ending here leaves tar with half an archive, and us with the reason.
      stream.push(null);
      return undefined;
    },
    flush(done) {
      try {
        stream.push(copy.end());
      } catch {
        isCut = true;
      }
      done();
    },
  });
  return { stream, fault: () => fault, isCut: () => isCut };
}

function diskFull(what: string): FarmError {
  return new FarmError("DISK_FULL", {
    detail: `${what} cannot be unpacked: there is no space left in the cache's file system`,
  });
}

function malformed(what: string, fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", {
    detail: `${what} cannot be unpacked: ${fact}`,
    at: { file: what },
  });
}

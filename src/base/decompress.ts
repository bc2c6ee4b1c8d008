/**
 * Compressed bytes from outside, unpacked as they come and never beyond a limit.
 */
import type { Readable } from "node:stream";
import { FarmError } from "./error.ts";
import { pipeThrough } from "./run.ts";

const FILTERS: Readonly<Record<string, readonly string[]>> = {
  gz: ["gzip", "-dc"],
  bz2: ["bzip2", "-dc"],
  xz: ["xz", "-dc", "--memlimit-decompress=512MiB"],
  zst: ["zstd", "-dc", "--memory=512MB"],
};

/**
 * The bytes inside; what kind of compression it is, the name's end says.
 * @throws FarmError DIGEST_MISMATCH when they are more than the limit, or damaged
 */
export async function* decompressed(
  body: Readable,
  name: string,
  limitBytes: number,
): AsyncGenerator<Buffer, void, undefined> {
  const argv = FILTERS[name.split(".").at(-1) ?? ""];
  if (argv === undefined)
    throw new FarmError("REMOTE_UNAVAILABLE", {
      detail: `${name} is compressed in a way that we cannot undo`,
    });
  const filter = pipeThrough(argv);
  body.pipe(filter.stdin);
  // A pipe passes an end on, but no failure: without this the filter would wait for the rest for ever.
  body.once("close", () => {
    if (!body.readableEnded) filter.stop();
  });
  body.once("error", () => filter.stop());
  try {
    let size = 0;
    for await (const chunk of filter.stdout as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limitBytes)
        throw new FarmError("DIGEST_MISMATCH", {
          detail: `${name} unpacks to more than ${limitBytes} bytes`,
        });
      yield chunk;
    }
    if ((await filter.exit) !== 0)
      throw new FarmError("DIGEST_MISMATCH", { detail: `${name} cannot be decompressed` });
  } finally {
    filter.stop();
  }
}

/** Bytes that are handed on as they come, and whose digest is known once they all have come. */
import { createHash } from "node:crypto";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";

interface Seen {
  readonly size: number;
  /** SHA-256, hexadecimal. */
  readonly sha256: string;
}

/**
 * Lets a consumer read a body, and reads what it leaves: the digest needs every byte. `tooLong` is thrown at the limit.
 * What befell the bytes outweighs what the consumer made of them, so a consumer's failure is held back for `check`,
 * which throws when the bytes were not the right ones.
 */
export async function consumeMetered<T>(
  body: Readable,
  consume: (body: Readable) => Promise<T>,
  limitBytes: number,
  tooLong: () => Error,
  check: (seen: Seen) => void,
): Promise<T> {
  const hash = createHash("sha256");
  let size = 0;
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > limitBytes) return done(tooLong());
      hash.update(chunk);
      done(null, chunk);
    },
  });
  const moved = pipeline(body, meter);
  const consumed = consume(meter);
  const drained = consumed.catch(() => {}).then(() => drain(meter)); // Thrown below, once the bytes are judged.
  const [outcome, flow] = await Promise.allSettled([consumed, moved, drained]);
  if (flow.status === "rejected") throw flow.reason;
  check({ size, sha256: hash.digest("hex") });
  if (outcome.status === "rejected") throw outcome.reason;
  return outcome.value;
}

async function drain(stream: Readable): Promise<void> {
  if (stream.destroyed || stream.readableEnded) return;
  for await (const _ of stream);
}

/** Streams for readers that may stop before the end: a file, or bytes that two of them want. */
import { createReadStream } from "node:fs";
import { PassThrough, type Readable } from "node:stream";

/** Closes the file whatever `consume` leaves of it: a stream that nobody reads to its end keeps its descriptor for ever. */
export async function streamFile<T>(file: string, consume: (body: Readable) => Promise<T>): Promise<T> {
  const body = createReadStream(file);
  try {
    return await consume(body);
  } finally {
    body.destroy();
  }
}

type Reader<T> = (bytes: Readable) => Promise<T>;

/**
 * Lets two readers have the same bytes, as fast as the slower one takes them; one that stops early, or fails, keeps
 * nothing from the other. `body` is left open. Thrown is what befell the bytes, or else the first reader's fault.
 */
export async function both<A, B>(body: Readable, first: Reader<A>, second: Reader<B>): Promise<[A, B]> {
  const copies = [new PassThrough(), new PassThrough()] as const;
  for (const copy of copies) copy.on("error", () => {}); // Whoever reads it hears of it too.
  const readers = [
    first(copies[0]).finally(() => copies[0].destroy()),
    second(copies[1]).finally(() => copies[1].destroy()),
  ] as const;
  const [flow, one, other] = await Promise.allSettled([copyTo(body, copies), ...readers]);
  if (flow.status === "rejected") throw flow.reason;
  if (one.status === "rejected") throw one.reason;
  if (other.status === "rejected") throw other.reason;
  return [one.value, other.value];
}

/** Until nobody reads any more. */
async function copyTo(body: Readable, copies: readonly PassThrough[]): Promise<void> {
  try {
    for await (const chunk of body.iterator({ destroyOnReturn: false })) {
      await Promise.all(copies.map((copy) => offered(copy, chunk)));
      if (copies.every(({ destroyed }) => destroyed)) return;
    }
    for (const copy of copies) copy.end();
  } catch (fault) {
    for (const copy of copies) copy.destroy(fault as Error);
    throw fault;
  }
}

/** Waits where the copy is full, until there is room or its reader has gone. */
async function offered(copy: PassThrough, chunk: Buffer): Promise<void> {
  if (copy.destroyed || copy.write(chunk)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      copy.off("drain", done).off("close", done);
      resolve();
    };
    copy.on("drain", done).on("close", done);
  });
}

/** Bytes that come too slowly to come to an end. */
import type { Readable } from "node:stream";

/** What a server must give on average while we wait for it: 10 kB a second. */
export const LEAST_BYTES_PER_MS = 10;

/**
 * Ends a body that gives less than that for as long as `windowMs`. Time in which bytes wait for their reader is not the
 * server's. `count` is told of every piece.
 */
export function requireSpeed(
  body: Readable,
  windowMs: number,
  tooSlow: (bytes: number, waitedMs: number) => Error,
  count: (bytes: number) => void = () => {},
): void {
  const tickMs = Math.min(1000, windowMs / 4);
  let [waitedMs, bytes] = [0, 0];
  body.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    count(chunk.length);
  });
  body.pause();
  // Ticks instead of a clock: none pass while this process is busy or asleep.
  const timer = setInterval(() => {
    if (body.readableLength > 0) return;
    waitedMs += tickMs;
    if (waitedMs < windowMs) return;
    if (bytes < windowMs * LEAST_BYTES_PER_MS) body.destroy(tooSlow(bytes, waitedMs));
    [waitedMs, bytes] = [0, 0];
  }, tickMs);
  timer.unref();
  body.once("close", () => clearInterval(timer));
}

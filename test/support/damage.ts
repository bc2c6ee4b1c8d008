/** Bytes that nobody wrote: real ones, damaged by chance, and always in the same way for one seed. */

export type Random = (below: number) => number;

/** Whole numbers from 0 up (mulberry32, which is public domain). */
export function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Numbers that readers stumble over. */
const NUMBERS = [0, 1, 2, 0x7f, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

export function damaged(sample: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(sample);
  for (let times = 1 + random(4); times > 0 && bytes.length > 8; times--) {
    // Headers and the end, where numbers lie that others rest on, are hit as often as all the rest.
    const places = [
      random(64),
      bytes.length - 1 - random(Math.min(bytes.length, 4096)),
      random(bytes.length),
    ];
    const at = Math.min(places[random(3)] as number, bytes.length - 5);
    switch (random(6)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << random(8));
        break;
      case 1:
        bytes.writeUInt32LE(NUMBERS[random(NUMBERS.length)] as number, Math.max(at, 0));
        break;
      case 2:
        bytes.writeUInt16LE(random(0x10000), Math.max(at, 0));
        break;
      case 3:
        bytes = bytes.subarray(0, at + 1);
        break;
      case 4:
        bytes = Buffer.concat([bytes, bytes.subarray(at)]);
        break;
      default: {
        const from = random(bytes.length);
        bytes.copyWithin(Math.max(at, 0), from, from + random(64));
      }
    }
  }
  return bytes;
}

/** Milliseconds that this thread has worked, which other work on the machine does not lengthen. */
export function workedMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Archives of tar, header by header, as no tool would write them. */

export interface Block {
  readonly name?: string;
  readonly type?: string;
  readonly linkName?: string;
  /** What the header says, whatever follows; default: the length of the content. */
  readonly size?: number;
  readonly mode?: number;
  readonly content?: string | Buffer;
}

/** The headers and what follows each, up to whole blocks; without the end. */
export function tarBlocks(...blocks: readonly Block[]): Buffer {
  return Buffer.concat(
    blocks.flatMap(({ content = "", ...block }) => {
      const bytes = Buffer.from(content as string);
      const padding = Buffer.alloc((512 - (bytes.length % 512)) % 512);
      return [tarHeader({ size: bytes.length, ...block }), bytes, padding];
    }),
  );
}

function tarHeader({ name = "x", type = "0", linkName = "", size = 0, mode = 0o644 }: Block): Buffer {
  const head = Buffer.alloc(512);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
  head.write(name, 0);
  for (const [at, value, digits] of [
    [100, mode, 7],
    [108, 0, 7],
    [116, 0, 7],
    [124, size, 11],
    [136, 0, 11],
  ] as const)
    head.write(octal(value, digits), at);
  head.write(`        ${type}`, 148);
  head.write(linkName, 157);
  head.write("ustar\u000000", 257);
  head.write(
    `${octal(
      head.reduce((sum, byte) => sum + byte, 0),
      6,
    )}\0 `,
    148,
  );
  return head;
}

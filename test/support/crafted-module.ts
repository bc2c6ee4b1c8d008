/** A module as nobody's compiler makes one, which is read all the same: it says as much as a test wants. */

export interface Crafted {
  /** Names of undefined symbols, each of up to 1024 bytes, which overlap in the file. */
  readonly symbols?: number;
  readonly nameBytes?: number;
  readonly depends?: string;
  readonly comment?: string;
  /** Further entries of `.modinfo`. */
  readonly modinfo?: readonly string[];
}

const SECTIONS = [
  { name: "", type: 0, flags: 0 },
  { name: ".shstrtab", type: 3, flags: 0 },
  { name: ".strtab", type: 3, flags: 0 },
  { name: ".symtab", type: 2, flags: 0 },
  { name: ".modinfo", type: 1, flags: 2 },
  { name: ".gnu.linkonce.this_module", type: 1, flags: 3 },
  { name: ".comment", type: 1, flags: 0 },
] as const;

export function craftModule(name: string, crafted: Crafted = {}): Buffer {
  const { depends = "", comment = "GCC: (Debian 12.2.0-14) 12.2.0", modinfo = [] } = crafted;
  const info = [
    `name=${name}`,
    "vermagic=6.1.0-56-amd64 SMP ",
    "license=GPL",
    `depends=${depends}`,
    ...modinfo,
  ];
  const { strings, table } = symbolsOf(crafted);
  const headings = Buffer.from(`${SECTIONS.map((one) => one.name).join("\0")}\0`);
  const closed = (text: string) => Buffer.from(`${text}\0`, "latin1");
  const bodies = [Buffer.alloc(0), headings, strings, table, closed(info.join("\0")), Buffer.alloc(64, 1)];
  return joined([...bodies, closed(comment)], headings);
}

/** Every offset in a long name is the beginning of another one. */
function symbolsOf({ symbols = 1, nameBytes = 1024 }: Crafted): { strings: Buffer; table: Buffer } {
  const perRun = Math.max(1, Math.floor(nameBytes / 40));
  const strings = [Buffer.from([0])];
  const table = Buffer.alloc(24 * (symbols + 1));
  for (let index = 0, at = 1; index < symbols; index += perRun, at += nameBytes + 1) {
    strings.push(Buffer.from(`${String(index).padStart(nameBytes, "a")}\0`));
    for (let more = 0; more < perRun && index + more < symbols; more++) {
      table.writeUInt32LE(at + more, 24 * (index + more + 1));
      table.writeUInt8(0x10, 24 * (index + more + 1) + 4);
    }
  }
  return { strings: Buffer.concat(strings), table };
}

function joined(bodies: readonly Buffer[], headings: Buffer): Buffer {
  const offsets: number[] = [];
  let end = 64;
  for (const body of bodies) {
    offsets.push(end);
    end = Math.ceil((end + body.length) / 8) * 8;
  }
  const file = Buffer.alloc(end + 64 * bodies.length);
  file.write("\x7fELF\x02\x01\x01", 0, "latin1");
  for (const [value, at] of [
    [1, 16],
    [62, 18],
    [64, 52],
    [64, 58],
    [bodies.length, 60],
    [1, 62],
  ] as const)
    file.writeUInt16LE(value, at);
  file.writeUInt32LE(1, 20);
  file.writeUInt32LE(end, 40);
  for (const [index, body] of bodies.entries()) {
    const { name, type, flags } = SECTIONS[index] as (typeof SECTIONS)[number];
    const [header, offset] = [end + 64 * index, offsets[index] as number];
    body.copy(file, offset);
    file.writeUInt32LE(index === 0 ? 0 : headings.indexOf(`\0${name}\0`) + 1, header);
    file.writeUInt32LE(type, header + 4);
    file.writeUInt32LE(flags, header + 8);
    file.writeUInt32LE(index === 0 ? 0 : offset, header + 24);
    file.writeUInt32LE(body.length, header + 32);
    file.writeUInt32LE(type === 2 ? 2 : 0, header + 40);
    file.writeUInt32LE(1, header + 48);
  }
  return file;
}

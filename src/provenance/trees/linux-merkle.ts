/**
 * The tree over the modules of one kernel, whose root the kernel holds: `linux-merkle-v5`, as the fifth version of the series
 * "module: Introduce hash-based integrity checking" makes it. Its hashes are a type of their own: those of a log
 * (rfc6962.ts) are made otherwise, and none may be taken for one of these.
 */
import { createHash } from "node:crypto";
import type { ModuleHashes } from "../../formats/module-hashes-root.ts";
import { endsWithMarker, MERKLE, readRecord, signatureTrailer } from "../../formats/module-signature.ts";

declare const linux: unique symbol;
/** SHA-256 of a leaf or a node of this tree. */
export type LinuxHash = Uint8Array & { readonly [linux]: true };

export const LINUX_MERKLE = "linux-merkle-v5";

export interface LinuxRoot {
  readonly levels: number;
  readonly hash: LinuxHash;
}

export interface LinuxProof {
  /** Place of the module among those of its kernel, from 0. */
  readonly position: number;
  /** The neighbour on each level, leaves first; one without a neighbour is its own. */
  readonly siblings: readonly LinuxHash[];
}

export interface LinuxTree {
  readonly root: LinuxRoot;
  /** @throws RangeError beyond the last leaf */
  proof(position: number): LinuxProof;
}

const HASH_BYTES = 32;
const POSITION_BYTES = 4;
/** Positions have 32 bits. */
const MOST_LEVELS = 32;
const [LEAF, NODE] = [0x01, 0x02];
/** Record and marker. */
const TRAILER_BYTES = 40;

/** Takes 32 bytes for a hash of this tree: those of a document or of a kernel that says so. @throws RangeError */
export function asLinuxHash(bytes: Uint8Array): LinuxHash {
  if (bytes.length !== HASH_BYTES)
    throw new RangeError(`a hash has ${HASH_BYTES} bytes, not ${bytes.length}`);
  return bytes as LinuxHash;
}

/** What stands for a module, as it is without a signature and uncompressed, at its place. */
export function leafOf(position: number, module: Uint8Array): LinuxHash {
  const head = Buffer.alloc(1 + POSITION_BYTES);
  head[0] = LEAF;
  head.writeUInt32BE(position, 1);
  return createHash("sha256").update(head).update(module).digest() as Uint8Array as LinuxHash;
}

function nodeOf(left: LinuxHash, right: LinuxHash): LinuxHash {
  const bytes = Buffer.concat([Buffer.of(NODE), left, right]);
  return createHash("sha256").update(bytes).digest() as Uint8Array as LinuxHash;
}

/** Even a single leaf is below a node; of none, the root is 32 zero bytes, which no module leads to. */
export function growTree(leaves: readonly LinuxHash[]): LinuxTree {
  const rows: (readonly LinuxHash[])[] = [leaves];
  for (let row = leaves; row.length > 1 || (rows.length === 1 && row.length === 1); ) {
    row = nodesAbove(row);
    rows.push(row);
  }
  const levels = rows.length - 1;
  const hash = rows[levels]?.[0] ?? asLinuxHash(new Uint8Array(HASH_BYTES));
  return {
    root: { levels, hash },
    proof(position) {
      if (leaves[position] === undefined) throw new RangeError(`there is no leaf ${position}`);
      const siblings = rows.slice(0, levels).map((row, level) => {
        const at = Math.floor(position / 2 ** level);
        return row[at ^ 1] ?? (row[at] as LinuxHash);
      });
      return { position, siblings };
    },
  };
}

function nodesAbove(row: readonly LinuxHash[]): LinuxHash[] {
  return Array.from({ length: Math.ceil(row.length / 2) }, (_, pair) => {
    const left = row[pair * 2] as LinuxHash;
    return nodeOf(left, row[pair * 2 + 1] ?? left);
  });
}

/** How many levels the tree over so many modules has. */
export function levelsFor(count: number): number {
  return count < 2 ? count : Math.ceil(Math.log2(count));
}

/** How long each file `NAME.ko.merkle` of a tree is. */
export function proofBytes({ levels }: LinuxRoot): number {
  return POSITION_BYTES + HASH_BYTES * levels + TRAILER_BYTES;
}

/** `NAME.ko.merkle`: what is beside a module, or appended to it. */
export function writeProof({ position, siblings }: LinuxProof): Buffer {
  const place = Buffer.alloc(POSITION_BYTES);
  place.writeUInt32BE(position);
  const proof = Buffer.concat([place, ...siblings]);
  return Buffer.concat([proof, signatureTrailer(proof, "merkle")]);
}

/**
 * What a file with a proof is by a root. The first six are the kernel's answers in the order in which it finds them
 * (ENODATA, EBADMSG, ENOPKG, ENOPKG, ENOKEY); `signedTwice` is ours: the root fits, but what it covers has a trailer too.
 * Nothing but `authenticated` is good.
 */
export const PROOF_VERDICTS = [
  "unsigned",
  "badMessage",
  "wrongType",
  "wrongLength",
  "otherRoot",
  "signedTwice",
  "authenticated",
] as const;
export type ProofVerdict = (typeof PROOF_VERDICTS)[number];

/** Judges a whole file: an uncompressed module with what was appended to it. */
export function judgeProof(file: Uint8Array, root: LinuxRoot): ProofVerdict {
  const record = readRecord(file);
  if (record === "unsigned") return "unsigned";
  if (record === "cut") return "badMessage";
  if (record.type !== MERKLE) return "wrongType";
  if (record.length >= record.at || !record.isClean) return "badMessage";
  const end = record.at - record.length;
  return judgeSplit(file.subarray(0, end), file.subarray(end, record.at), root);
}

/** The same of a module that was parted from its proof. */
export function judgeSplit(
  module: Uint8Array,
  proof: Uint8Array,
  root: LinuxRoot,
): Extract<ProofVerdict, "wrongLength" | "otherRoot" | "signedTwice" | "authenticated"> {
  if (proof.length !== POSITION_BYTES + HASH_BYTES * root.levels) return "wrongLength";
  if (!Buffer.from(rootAbove(module, proof)).equals(root.hash)) return "otherRoot";
  return endsWithMarker(module) ? "signedTwice" : "authenticated";
}

/** All bits of the position are in the leaf; those of the levels also say which side a node is on. */
function rootAbove(module: Uint8Array, proof: Uint8Array): LinuxHash {
  const position = new DataView(proof.buffer, proof.byteOffset).getUint32(0, false);
  let hash = leafOf(position, module);
  for (let level = 0, at = POSITION_BYTES; at < proof.length; level++, at += HASH_BYTES) {
    const sibling = asLinuxHash(proof.subarray(at, at + HASH_BYTES));
    hash = ((position >>> level) & 1) === 0 ? nodeOf(hash, sibling) : nodeOf(sibling, hash);
  }
  return hash;
}

/** The root that a kernel holds, if it shows one. */
export function rootOfKernel(said: ModuleHashes): LinuxRoot | undefined {
  return said.kind === "root" ? { levels: said.levels, hash: asLinuxHash(said.hash) } : undefined;
}

const ROOT_TEXT = /^([0-9a-f]{64})\/(0|[1-9]\d?)$/;

/** `HASH/LEVELS`: the hash alone would not say how long a proof must be. */
export function rootText({ hash, levels }: LinuxRoot): string {
  return `${Buffer.from(hash).toString("hex")}/${levels}`;
}

/** Undefined for what is no root's text. */
export function rootFromText(text: string): LinuxRoot | undefined {
  const [, hex = "", number = ""] = ROOT_TEXT.exec(text) ?? [];
  const levels = Number(number);
  if (hex === "" || levels > MOST_LEVELS) return undefined;
  return { levels, hash: asLinuxHash(Buffer.from(hex, "hex")) };
}

/** The C source of a root, byte for byte as the kernel's own tool (scripts/modules-merkle-tree.c) writes it. */
export function rootDefinition({ hash, levels }: LinuxRoot): string {
  const bytes = [...hash].map((byte) => `0x${byte.toString(16).padStart(2, "0")},`);
  const rows = [0, 8, 16, 24].map((start) => `\t\t${bytes.slice(start, start + 8).join(" ")}`);
  return [
    "#include <linux/module_hashes.h>",
    "",
    "const struct",
    "module_hashes_root module_hashes_root __module_hashes_section = {",
    `\t.levels = ${levels},`,
    "\t.hash = {",
    ...rows,
    "\t},",
    "};",
    "",
  ].join("\n");
}

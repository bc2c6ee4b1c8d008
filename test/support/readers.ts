/** Every reader of bytes from outside, each with real bytes to damage. */

import { execFileSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect } from "vitest";
import { unpackWhole } from "../../src/base/decompress.ts";
import { FarmError } from "../../src/base/error.ts";
import { sha256, toDocument } from "../../src/base/json.ts";
import { readDriverkit } from "../../src/catalog/driverkit.ts";
import { readKernelCrawler } from "../../src/catalog/kernel-crawler.ts";
import { readSigner, verifySignature } from "../../src/check/signature.ts";
import { readSetDocument, setDocument } from "../../src/farm/sets/module-tree.ts";
import { parseArHeader } from "../../src/formats/ar.ts";
import { checkBtf } from "../../src/formats/btf.ts";
import { readCms } from "../../src/formats/cms.ts";
import { openModule } from "../../src/formats/compressed-module.ts";
import { cpioMagic, parseCpioHeader, parseCpioShortHeader } from "../../src/formats/cpio.ts";
import { parseParagraphs, parseRelations, selectParagraphs } from "../../src/formats/deb822.ts";
import { readDynamicElf } from "../../src/formats/elf-dynamic.ts";
import { readKernelModule } from "../../src/formats/kernel-module.ts";
import { readModuleHashes } from "../../src/formats/module-hashes-root.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import { readSymvers } from "../../src/formats/module-symvers.ts";
import {
  checkRpmLead,
  readRpmHeader,
  readRpmIdentity,
  readRpmSignatures,
  rpmHeaderBytes,
} from "../../src/formats/rpm.ts";
import { parseMetalink, parseMirrorList, parseRepomd, primaryReader } from "../../src/formats/rpm-md.ts";
import { readSystemMap } from "../../src/formats/system-map.ts";
import { parseExtended, parseTarHeader } from "../../src/formats/tar.ts";
import { TarScan } from "../../src/formats/tar-entries.ts";
import { readVmlinuz } from "../../src/formats/vmlinuz.ts";
import { readDebFiles } from "../../src/inputs/deb-stream.ts";
import { readRpmFiles } from "../../src/inputs/rpm-stream.ts";
import { parseHeaderUrl } from "../../src/kernel/header-file.ts";
import { CHECKPOINT_LIMIT_BYTES, readCheckpoint } from "../../src/provenance/checkpoint.ts";
import { judgeBundle } from "../../src/provenance/judge.ts";
import { readLogProof, writeLogProof } from "../../src/provenance/log-proof.ts";
import { keyOf, leafPrefix, readLeaf } from "../../src/provenance/node-index.ts";
import { readNote } from "../../src/provenance/signed-note.ts";
import { readStatement, writeStatement } from "../../src/provenance/statement.ts";
import { growTree, judgeProof, leafOf, writeProof } from "../../src/provenance/trees/linux-merkle.ts";
import { EMPTY_ROOT } from "../../src/provenance/trees/rfc6962.ts";
import { readBundle, readTile, writeBundle } from "../../src/provenance/trees/tiles.ts";
import { readTrust, writeTrust } from "../../src/provenance/trust.ts";
import { writeIndex } from "../../src/provenance/write-node-index.ts";
import { damaged, randomFrom, workedMs } from "./damage.ts";
import { makeDeb } from "./debs.ts";
import { kernelWithRoot } from "./kernel-with-root.ts";
import { makeTestKey, trustOf, trustWithLog } from "./notes.ts";
import { makeRpm } from "./rpms.ts";
import { BUILDER, IDENTITY, makeSigner, makeStatement, MODULES as STATED_MODULES } from "./statements.ts";

const VECTORS = JSON.parse(
  readFileSync(join(import.meta.dirname, "../fixtures/integrity/tlog-vectors.json"), "utf8"),
) as { readonly checkpoint: string };
const TREE = growTree([0, 1, 2].map((at) => leafOf(at, Buffer.from(`module ${at}`))));
const PROVEN = Buffer.concat([Buffer.from("module 1"), writeProof(TREE.proof(1))]);
const ROOT = { levels: TREE.root.levels, hash: TREE.root.hash };
const KERNEL = kernelWithRoot(ROOT);
const BUNDLE = writeBundle(["one", "two", "three"].map((entry) => Buffer.from(entry)));
const LOG_PROOF = writeLogProof({
  ...{ entry: Buffer.from("an entry"), index: 3, hashes: [EMPTY_ROOT, EMPTY_ROOT] },
  checkpoint: readNote(Buffer.from(VECTORS.checkpoint), CHECKPOINT_LIMIT_BYTES, "a vector"),
});

const SIGNER = makeSigner();
const STATED = Buffer.from(SIGNER.sign(makeStatement()));
const BUILD = { identity: IDENTITY, modules: STATED_MODULES };
const BUILDERS = [{ id: BUILDER, key: SIGNER.key }];
const LEAVES = [0, 1, 2].map((at) => leafOf(at, Buffer.from(`module ${at}`)));
const SET = Buffer.from(
  toDocument({
    schema: "kmodfarm.modules/1",
    ...setDocument({ form: "built", names: ["a.ko", "b.ko", "c.ko"], leaves: LEAVES, tree: TREE }),
  }),
);
const PLACE = { driver: "doorbell", machine: "x86_64" };
const RELEASE = "6.1.0-56-amd64";
const LEAF_PREFIX = leafPrefix("1", keyOf({ ...PLACE, release: RELEASE }));
const SIZED = { digest: sha256("a file"), size: 7 };
const LEAF = Buffer.from(
  [
    ...writeIndex(PLACE, [
      {
        ...{ release: RELEASE, distribution: "debian12", packageVersion: "6.1.170-3", denied: [] },
        uname: { kind: "unameword", text: "Debian 6.1.170-3" },
        answer: {
          kind: "exact",
          artifact: {
            ...{ version: "0.1.1", manifest: SIZED, provenance: [SIZED] },
            modules: [{ file: "doorbell.ko", ...SIZED }],
            signatures: [{ file: "doorbell.ko", keyId: "00112233", ...SIZED }],
            proven: {
              sets: [{ version: "0.1.1", edition: 2, count: 3, root: ROOT }],
              proofs: [{ file: "doorbell.ko", digest: sha256("a proof"), size: 108 }],
            },
          },
        },
      },
    ]).files.values(),
  ].find((one) => one.includes("\nleaf ")) ?? "",
);
const LOGGED = trustWithLog(
  trustOf([makeTestKey()], [makeTestKey()]),
  [makeTestKey("ed25519")],
  [makeTestKey("ed25519")],
);

export interface Reader {
  readonly name: string;
  readonly samples: readonly Buffer[];
  readonly read: (bytes: Buffer) => unknown;
  /** How many inputs of the usual number it gets: those that start programs get few. */
  readonly share?: number;
}

const FIXTURES = join(import.meta.dirname, "../fixtures");
export const MODULES = globSync(`${FIXTURES}/modules/*.ko`).map((file) => readFileSync(file));
const [MODULE = Buffer.alloc(0)] = MODULES;

const lines = (line: (at: number) => string) =>
  Buffer.from(Array.from({ length: 200 }, (_, at) => line(at * 7919)).join(""));
const SYMVERS = lines(
  (at) => `0x${at.toString(16).padStart(8, "0")}\ts_${at}\tvmlinux\tEXPORT_SYMBOL_GPL\t\n`,
);
const SYSTEM_MAP = lines((at) => `ffffffff8${at.toString(16).padStart(7, "0")} r __ksymtab_s_${at}\n`);
const SHA = "a".repeat(64);
const REPOMD = Buffer.from(
  `<?xml version="1.0"?><repomd><revision>1790000000</revision><data type="primary"><checksum type="sha256">${SHA}</checksum><open-checksum type="sha256">${SHA}</open-checksum><location href="repodata/primary.xml.gz"/><timestamp>1790000000</timestamp><size>100</size><open-size>1000</open-size></data></repomd>`,
);
const PRIMARY = Buffer.from(
  `<?xml version="1.0"?><metadata xmlns="http://linux.duke.edu/metadata/common"><package type="rpm"><name>kernel-devel</name><arch>x86_64</arch><version epoch="0" ver="5.14.0" rel="1.el9"/><checksum type="sha256" pkgid="YES">${SHA}</checksum><size package="10"/><location href="Packages/k.rpm"/><format><rpm:provides><rpm:entry name="kernel-devel" flags="EQ" epoch="0" ver="5.14.0" rel="1.el9"/></rpm:provides></format></package></metadata>`,
);
const METALINK = Buffer.from(
  `<?xml version="1.0"?><metalink><files><file name="repomd.xml"><verification><hash type="sha256">${SHA}</hash></verification><resources><url protocol="https" preference="99">https://m.example/x/repodata/repomd.xml</url></resources></file></files></metalink>`,
);
const PARAGRAPHS = Buffer.from(
  Array.from(
    { length: 20 },
    (_, at) =>
      `Package: linux-headers-6.1.0-${at}-amd64\nVersion: 6.1.${at}-1\nDepends: linux-headers-6.1.0-${at}-common (= 6.1.${at}-1), gcc-12 | gcc\nDescription: words\n more\n`,
  ).join("\n"),
);
const KIT = Buffer.from(
  "kernelversion: 1\nkernelrelease: 6.1.0-9-amd64\ntarget: debian\narchitecture: amd64\nkernelurls: ['http://m.example/linux-headers-6.1.0-9-amd64_6.1.27-1_amd64.deb']\n",
);
const IMAGE = Buffer.concat([
  Buffer.alloc(0x38),
  Buffer.from("ARM\x64"),
  Buffer.alloc(64),
  Buffer.from("Linux version 6.1.0 (x) (gcc-12) #1\n"),
  Buffer.alloc(4096, Buffer.from("30820104308201", "hex")),
]);

/** A header, no types, and the empty string. */
const BTF = Buffer.from("9feb0100180000000000000000000000000000000100000000", "hex");

/** A certificate, and a module that its owner signed: a fixture, unless another one is given. */
export function signedModule(module = MODULE): {
  readonly der: Buffer;
  readonly cms: Buffer;
  readonly module: Buffer;
} {
  const place = mkdtempSync(join(tmpdir(), "signed-"));
  const openssl = (...argv: string[]) => execFileSync("openssl", argv, { cwd: place, stdio: "pipe" });
  // Distributions sign theirs; nobody signs a module twice.
  const { content } = splitSignature(module, "fixture");
  const file = join(place, "content");
  writeFileSync(file, content);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "k.pem"];
  openssl("req", "-x509", ...key, "-out", "c.pem", "-subj", "/CN=x");
  const der = openssl("x509", "-in", "c.pem", "-outform", "DER");
  const how = ["-binary", "-noattr", "-nocerts", "-md", "sha256", "-outform", "DER"];
  const cms = openssl("cms", "-sign", ...how, "-signer", "c.pem", "-inkey", "k.pem", "-in", file);
  rmSync(place, { recursive: true });
  const tail = Buffer.alloc(12);
  tail[2] = 2;
  tail.writeUInt32BE(cms.length, 8);
  return {
    der,
    cms,
    module: Buffer.concat([content, cms, tail, Buffer.from("~Module signature appended~\n")]),
  };
}

const text = (bytes: Buffer) => bytes.toString("utf8");
const stream = (bytes: Buffer) => Readable.from([bytes]);
const all = () => true;
const never = () => false;

export async function readers(): Promise<Reader[]> {
  const place = mkdtempSync(join(tmpdir(), "readers-"));
  const files = { "boot/vmlinuz-6.1": "an image", "usr/lib/libx.so.1": "a library" };
  const [plain, packed] = (await Promise.all(
    (["none", "xz"] as const).map(async (how) => readFileSync(await makeDeb(place, "package", files, how))),
  )) as [Buffer, Buffer];
  const rpm = readFileSync(makeRpm(place, "package", { files }));
  rmSync(place, { recursive: true });
  const tar = plain.subarray(plain.indexOf("data.tar") + 60);
  const list = readFileSync(`${FIXTURES}/kernel-crawler/x86_64.json`);
  const rich = readFileSync(`${FIXTURES}/kernel-crawler/rich_aarch64.json`);
  const { der, cms, module } = signedModule();
  const signer = readSigner(der, "fuzz");
  return [
    { name: "readKernelModule", samples: MODULES, read: (bytes) => readKernelModule(bytes, "fuzz") },
    { name: "splitSignature", samples: MODULES, read: (bytes) => splitSignature(bytes, "fuzz") },
    {
      name: "readDynamicElf",
      samples: [readFileSync("/bin/sh"), ...MODULES],
      read: (bytes) => readDynamicElf(bytes),
    },
    { name: "readSystemMap", samples: [SYSTEM_MAP], read: (bytes) => readSystemMap(text(bytes), "fuzz") },
    { name: "readSymvers", samples: [SYMVERS], read: (bytes) => readSymvers(text(bytes), "fuzz") },
    { name: "checkBtf", samples: [BTF, ...MODULES], read: (bytes) => checkBtf(bytes, "fuzz") },
    {
      name: "openModule",
      samples: [gzipSync(MODULE), zstdCompressSync(MODULE)],
      read: (bytes) => openModule(bytes, "fuzz", unpackWhole),
      share: 0.2,
    },
    {
      name: "readVmlinuz",
      samples: [IMAGE, gzipSync(IMAGE)],
      read: (bytes) => readVmlinuz(bytes, "fuzz", unpackWhole),
    },
    {
      name: "readModuleHashes",
      samples: [KERNEL, kernelWithRoot(ROOT, { bits: 32, order: "big" })],
      read: (bytes) => readModuleHashes(bytes, "fuzz"),
    },
    {
      name: "judgeProof",
      samples: [PROVEN],
      read: (bytes) => judgeProof(bytes, TREE.root),
    },
    {
      name: "a checkpoint",
      samples: [Buffer.from(VECTORS.checkpoint)],
      read: (bytes) => readCheckpoint(readNote(bytes, CHECKPOINT_LIMIT_BYTES, "fuzz").text, "fuzz"),
    },
    {
      name: "readLogProof",
      samples: [Buffer.from(LOG_PROOF)],
      read: (bytes) => writeLogProof(readLogProof(bytes, "fuzz")),
    },
    { name: "a statement", samples: [STATED], read: (bytes) => judgeBundle(bytes, BUILD, BUILDERS) },
    {
      name: "readStatement",
      samples: [Buffer.from(writeStatement(makeStatement()))],
      read: (bytes) => readStatement(bytes, "fuzz"),
    },
    { name: "a set's document", samples: [SET], read: (bytes) => readSetDocument(text(bytes), "fuzz") },
    {
      name: "a leaf of the node index",
      samples: [LEAF],
      read: (bytes) => readLeaf(bytes, PLACE, LEAF_PREFIX, "fuzz"),
    },
    {
      name: "a root",
      samples: [Buffer.from(writeTrust(LOGGED))],
      read: (bytes) => readTrust(bytes.toString("latin1"), "fuzz"),
    },
    { name: "readBundle", samples: [BUNDLE], read: (bytes) => readBundle(bytes, 3, "fuzz") },
    { name: "readTile", samples: [Buffer.alloc(64)], read: (bytes) => readTile(bytes, 2, "fuzz") },
    { name: "readCms", samples: [cms, der], read: (bytes) => readCms(bytes, "fuzz") },
    { name: "readSigner", samples: [der], read: (bytes) => readSigner(bytes, "fuzz") },
    {
      name: "verifySignature",
      samples: [module],
      read: (bytes) => verifySignature(splitSignature(bytes, "fuzz"), [signer]),
    },
    {
      name: "verifySignature by any certificate",
      samples: [der],
      read: (bytes) => verifySignature(splitSignature(module, "fuzz"), [readSigner(bytes, "fuzz")]),
    },
    { name: "readDebFiles", samples: [plain], read: (bytes) => readDebFiles(stream(bytes), all, never) },
    {
      name: "readDebFiles, packed",
      samples: [packed],
      read: (bytes) => readDebFiles(stream(bytes), all, never),
      share: 0.01,
    },
    {
      name: "readRpmFiles",
      samples: [rpm],
      read: (bytes) => readRpmFiles(stream(bytes), all, never),
      share: 0.01,
    },
    { name: "headers of rpm", samples: [rpm], read: readRpmFront },
    {
      name: "parseTarHeader",
      samples: [tar.subarray(0, 512)],
      read: (bytes) => parseTarHeader(fixed(bytes)),
    },
    {
      name: "TarScan",
      samples: [tar],
      read: (bytes) => [...new TarScan().push(bytes)],
    },
    {
      name: "parseExtended",
      samples: [Buffer.from("30 path=usr/src/x-1.0/a/b/c/d\n20 size=00000000010\n")],
      read: (bytes) => parseExtended(bytes),
    },
    { name: "parseArHeader", samples: [plain.subarray(8, 68)], read: (bytes) => parseArHeader(bytes) },
    {
      name: "headers of cpio",
      samples: [Buffer.from(`070701${"0000000a".repeat(13)}`)],
      read: (bytes) =>
        (cpioMagic(bytes.subarray(0, 6)) === "whole" ? parseCpioHeader : parseCpioShortHeader)(
          bytes.subarray(6),
        ),
    },
    { name: "parseRepomd", samples: [REPOMD], read: (bytes) => parseRepomd(text(bytes), "fuzz") },
    { name: "parseMetalink", samples: [METALINK], read: (bytes) => parseMetalink(text(bytes), "fuzz") },
    { name: "parseMirrorList", samples: [METALINK], read: (bytes) => parseMirrorList(text(bytes)) },
    { name: "primaryReader", samples: [PRIMARY], read: readPrimary },
    {
      name: "selectParagraphs",
      samples: [PARAGRAPHS],
      read: (bytes) =>
        selectParagraphs([bytes.subarray(0, bytes.length >> 1), bytes], ["linux-"], new Set(["Package"])),
    },
    {
      name: "parseParagraphs",
      samples: [PARAGRAPHS],
      read: (bytes) => parseParagraphs(text(bytes)).map((one) => [...one.values()].map(parseRelations)),
    },
    {
      name: "readKernelCrawler",
      samples: [list, rich],
      read: (bytes) => readKernelCrawler(stream(bytes), { url: "fuzz" }),
      share: 0.3,
    },
    {
      name: "readDriverkit",
      samples: [KIT],
      read: (bytes) => readDriverkit([{ name: "fuzz", text: text(bytes) }], { url: "fuzz" }),
    },
    {
      name: "parseHeaderUrl",
      samples: [Buffer.from("http://m.example/linux-headers-6.1.0-9-amd64_6.1.27-1_amd64.deb")],
      read: (bytes) => parseHeaderUrl(text(bytes)),
    },
  ];
}

/** A header is asked for with all its bytes, whatever they are. */
function fixed(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(512)]).subarray(0, 512);
}

function readRpmFront(bytes: Buffer): unknown {
  checkRpmLead(bytes.subarray(0, 96));
  const signatures = rpmHeaderBytes(bytes.subarray(96, 112));
  const at = 112 + Math.ceil(signatures.bytes / 8) * 8;
  const own = bytes.subarray(112, 112 + signatures.bytes);
  if (own.length === signatures.bytes) readRpmSignatures(signatures.entries, own);
  const header = rpmHeaderBytes(bytes.subarray(at, at + 16));
  const body = bytes.subarray(at + 16, at + 16 + header.bytes);
  if (body.length < header.bytes) return undefined;
  return [readRpmHeader(header.entries, body), readRpmIdentity(header.entries, body)];
}

function readPrimary(bytes: Buffer): void {
  const reader = primaryReader("fuzz", /^kernel/, () => {});
  reader.write(bytes);
  reader.end();
}

const SLOW_MS = 2000;

/** A reader says what is wrong by the one error, in bounded time, and nothing else happens. */
export async function expectAnswers({ samples, read, share = 1 }: Reader, usual: number, seed: number) {
  const count = Math.max(10, Math.round(usual * share));
  const random = randomFrom(seed);
  const told = { read: 0, refused: 0, slowestMs: 0 };
  expect(samples.length).toBeGreaterThan(0);
  for (let index = 0; index < count; index++) {
    const sample = samples[random(samples.length)] as Buffer;
    const bytes = damaged(sample, random);
    const started = workedMs();
    try {
      await read(bytes);
      told.read++;
    } catch (thrown) {
      if (!(thrown instanceof FarmError) || thrown.code === "BUG")
        throw new Error(`input ${index} of seed ${seed}`, { cause: thrown });
      told.refused++;
    }
    told.slowestMs = Math.max(told.slowestMs, workedMs() - started);
  }
  expect(told.read + told.refused).toBe(count);
  expect(told.slowestMs).toBeLessThan(SLOW_MS);
  return told;
}

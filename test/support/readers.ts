/** Every reader of bytes from outside, each with real bytes to damage. */

import { execFileSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect } from "vitest";
import { unpackWhole } from "../../src/base/decompress.ts";
import { FarmError } from "../../src/base/error.ts";
import { readDriverkit } from "../../src/catalog/driverkit.ts";
import { readKernelCrawler } from "../../src/catalog/kernel-crawler.ts";
import { readSigner, verifySignature } from "../../src/check/signature.ts";
import { parseArHeader } from "../../src/formats/ar.ts";
import { checkBtf } from "../../src/formats/btf.ts";
import { readCms } from "../../src/formats/cms.ts";
import { openModule } from "../../src/formats/compressed-module.ts";
import { cpioMagic, parseCpioHeader, parseCpioShortHeader } from "../../src/formats/cpio.ts";
import { parseParagraphs, parseRelations, selectParagraphs } from "../../src/formats/deb822.ts";
import { readDynamicElf } from "../../src/formats/elf-dynamic.ts";
import { readKernelModule } from "../../src/formats/kernel-module.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import { readSymvers } from "../../src/formats/module-symvers.ts";
import { checkRpmLead, readRpmHeader, rpmHeaderBytes } from "../../src/formats/rpm.ts";
import { parseMetalink, parseMirrorList, parseRepomd, primaryReader } from "../../src/formats/rpm-md.ts";
import { readSystemMap } from "../../src/formats/system-map.ts";
import { parseExtended, parseTarHeader } from "../../src/formats/tar.ts";
import { TarScan } from "../../src/formats/tar-entries.ts";
import { readVmlinuz } from "../../src/formats/vmlinuz.ts";
import { readDebFiles } from "../../src/inputs/deb-stream.ts";
import { readRpmFiles } from "../../src/inputs/rpm-stream.ts";
import { parseHeaderUrl } from "../../src/kernel/header-file.ts";
import { damaged, randomFrom, workedMs } from "./damage.ts";
import { makeDeb } from "./debs.ts";
import { makeRpm } from "./rpms.ts";

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
      read: (bytes) => selectParagraphs([bytes.subarray(0, bytes.length >> 1), bytes], ["linux-"]),
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
  const header = rpmHeaderBytes(bytes.subarray(at, at + 16));
  const body = bytes.subarray(at + 16, at + 16 + header.bytes);
  return body.length === header.bytes ? readRpmHeader(header.entries, body) : undefined;
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

/** The client in POSIX sh, by the shells and tools that nodes have. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sha256 } from "../../src/base/json.ts";
import { readHead, writeHead } from "../../src/provenance/head.ts";
import type { Proven } from "../../src/provenance/node-index.ts";
import { asLinuxHash } from "../../src/provenance/trees/linux-merkle.ts";
import { readTrust, writeTrust } from "../../src/provenance/trust.ts";
import { randomFrom } from "../support/damage.ts";
import { busyboxClient, CLIENT, SYSTEM_PATH } from "../support/node-clients.ts";
import { blockOf, faultOfLeaf, leafOf, PLACE, UNAME } from "../support/node-registry.ts";
import { changedLines, ORIGIN } from "../support/notes.ts";
import { firstRoot } from "../support/signed-store.ts";
import { sharedDirectory } from "../support/temporary.ts";
import { nodeClientContract } from "./node-client.ts";

nodeClientContract({ name: "dash, curl", argv: ["dash", CLIENT], path: SYSTEM_PATH });

nodeClientContract({ ...busyboxClient(), extent: "brief" });

/** Both clients and the farm must understand a file in the same way: what one of them refuses, all do. */
const denied = [sha256("one"), sha256("two")].toSorted().map((module) => ({ module, why: "a  reason" }));
const sized = (digest: string) => ({ digest: sha256(digest), size: 7 });
const artifact = {
  ...{ version: "0.1.1", manifest: sized("manifest"), provenance: [sized("statement")] },
  modules: ["doorbell.ko", "tally.ko"].map((file) => ({ file, ...sized(file) })),
  signatures: [{ file: "tally.ko", keyId: "00112233", ...sized("signature") }],
};
const proven: Proven = {
  sets: [
    { version: "0.1.1", edition: 2, count: 5, root: { levels: 3, hash: asLinuxHash(Buffer.alloc(32, 5)) } },
    { version: "0.1.1", edition: 10, count: 1, root: { levels: 1, hash: asLinuxHash(Buffer.alloc(32, 6)) } },
  ],
  proofs: artifact.modules.map(({ file }, at) => ({
    file,
    digest: sha256(`proof ${at}`),
    size: at === 0 ? 140 : 76,
  })),
};
const indices = ["aarch64", "x86_64"].map((machine) => ({
  ...{ driver: "doorbell", machine, widths: "2+1", top: sha256(machine), floor: "0.1.0" },
}));
const head = {
  ...{ origin: ORIGIN, serial: 7, issued: "2026-11-28T02:10:00Z", expires: "2026-12-05T02:10:00Z" },
  ...{ generation: { number: 7, digest: sha256("generation") }, indices },
};
const throws = (read: () => unknown) => {
  try {
    read();
    return false;
  } catch {
    return true;
  }
};
const FORMS: readonly { form: string; text: string; isRefused: (text: string) => boolean }[] = [
  {
    ...{ form: "leaf", isRefused: (text) => faultOfLeaf(Buffer.from(text, "latin1")) !== undefined },
    text: leafOf([
      blockOf({ kind: "exact", artifact }, { denied }),
      blockOf({ kind: "failed", why: "no  doors" }, { packageVersion: "6.1.170-4" }),
    ]),
  },
  {
    ...{ form: "leaf", isRefused: (text) => faultOfLeaf(Buffer.from(text, "latin1")) !== undefined },
    text: leafOf([
      blockOf({ kind: "exact", artifact: { ...artifact, proven } }, { denied }),
      blockOf({ kind: "exact", artifact: { ...artifact, proven } }, { packageVersion: "6.1.170-4" }),
      blockOf({ kind: "building" }, { packageVersion: "6.1.170-5" }),
    ]),
  },
  { form: "head", text: writeHead(head), isRefused: (text) => throws(() => readHead(text, "head")) },
  { form: "root", text: writeTrust(firstRoot()), isRefused: (text) => throws(() => readTrust(text, "root")) },
];

const place = sharedDirectory();
for (const [at] of FORMS.entries()) mkdirSync(join(place, String(at)));

test.each(FORMS.map((one, at) => ({ ...one, at })))(
  "a changed $form is refused by the shell if the farm refuses it ($at)",
  ({ form, text, isRefused, at: number }) => {
    const directory = join(place, String(number));
    const random = randomFrom(7);
    const all = [...changedLines(text)].map(({ changed }) => changed.toString("latin1"));
    const extra = [
      text.replace(" v2\n", " v1\n"),
      text.replace(/^(set \S+) 2 5 3/m, "$1 2 5 2"),
      text.replace(/^(set \S+) 2 /m, "$1 10 "),
      text.replace(/^(proof \S+ \S+) 140$/m, "$1 108"),
      text.replaceAll(/^proof .*\n/gm, ""),
      text.replaceAll(/^set .*\n/gm, ""),
      text.replace(/^proof tally.ko/m, "proof other.ko"),
      text.replace(/^proof tally.ko/m, "proof doorbell.ko"),
    ];
    const some = [text, ...extra, ...Array.from({ length: 60 }, () => all[random(all.length)] ?? "")];
    for (const [at, one] of some.entries()) writeFileSync(join(directory, String(at)), one, "latin1");
    const said = execFileSync(
      "dash",
      [
        "-c",
        `. "$here/kmodfarm-registry.sh"; for at in $(seq 0 ${some.length - 1}); do
        if lines ${form} "$work/$at" 2>/dev/null; then echo taken; else echo refused; fi; done`,
      ],
      {
        encoding: "utf8",
        env: {
          ...{ PATH: "/usr/bin:/bin", LC_ALL: "C", here: join(CLIENT, ".."), work: directory, ...PLACE },
          ...{
            release: UNAME.release,
            build: UNAME.version,
            prefix: text.split("\n")[1]?.split(" ")[3] ?? "",
          },
        },
      },
    );

    expect(
      said
        .trim()
        .split("\n")
        .map((word, at) => ({ [word]: some[at] })),
    ).toEqual(some.map((one) => ({ [isRefused(one) ? "refused" : "taken"]: one })));
  },
);

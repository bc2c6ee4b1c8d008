import { execFileSync, spawn } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HEAD, REQUESTS, ROOT, STATEMENT } from "../../test/support/signing-requests.ts";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { Secret } from "../base/secret.ts";
import type { KeyKind } from "../provenance/public-key.ts";
import { createKey } from "./create.ts";
import { type KeySetting, openSigner } from "./open.ts";
import type { SigningRequest } from "./signer.ts";

const place = sharedDirectory();
const PASSWORD = "password-that-nobody-else-has";
const passwordFile = join(place, "password");
writeFileSync(passwordFile, `${PASSWORD}\n`);

const setting = (name: string, role: KeySetting["role"], path: string): KeySetting => ({
  ...{ name, role, place: { kind: "file", path } },
  password: { kind: "file", path: passwordFile },
});

let head: KeySetting;
let builder: KeySetting;
let module: KeySetting;
beforeAll(async () => {
  const made = (name: string, kind: KeyKind) =>
    createKey({
      ...{ name, kind, directory: join(place, "keys"), hasCertificate: false },
      password: () => new Secret(PASSWORD),
    });
  head = setting("head", "head", (await made("head", "p256")).file);
  builder = setting("builder", "builder", (await made("builder", "ed25519")).file);
  module = setting("mok", "module", (await made("mok", "rsa")).file);
});

describe("what is made", () => {
  test("is for its owner alone, and encrypted with scrypt", async () => {
    const { path } = head.place as { path: string };

    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(place, "keys")).mode & 0o777).toBe(0o700);
    expect(execFileSync("openssl", ["asn1parse", "-in", path]).toString()).toMatch(/:scrypt\n/);
  });

  test("never takes the place of another key", async () => {
    const key = {
      name: "head",
      kind: "p256",
      directory: join(place, "keys"),
      hasCertificate: false,
    } as const;

    await expect(createKey(key)).rejects.toMatchObject({ code: "KEY_EXISTS" });
  });
});

describe("a signer", () => {
  test("opens only keys of the kinds of their roles", async () => {
    const wrong = { ...module, role: "head" } as const;

    await expect(openSigner([wrong])).rejects.toMatchObject({
      code: "KEY_UNREADABLE",
      message: expect.stringMatching(/it is of the kind rsa; for head it must be p256/),
    });
  });

  test.each([
    ["is missing", "missing.pem", "KEY_UNREADABLE"],
    ["is none", "password", "KEY_UNREADABLE"],
  ])("says which key %s", async (_, file, code) => {
    await expect(openSigner([setting("mine", "head", join(place, file))])).rejects.toMatchObject({
      code,
      message: expect.stringContaining(file === "password" ? "mine" : file),
    });
  });

  test("signs nothing that it cannot read as what it claims to be", async () => {
    await using signer = await openSigner([head, builder, module]);
    const wrong: [string, unknown][] = [
      ...[ROOT, `${HEAD}\n`, HEAD.slice(0, -1), HEAD.replace("serial 1\n", "serial 01\n"), STATEMENT, 7].map(
        (text): [string, unknown] => ["head", { kind: "head", text }],
      ),
      ["head", { kind: "root", text: ROOT }],
      ["head", { kind: "module", sha256: "00".repeat(32) }],
      ["head", { kind: "bytes", bytes: "AA==" }],
      ...[
        HEAD,
        `${STATEMENT} `,
        STATEMENT.replace("subject", "Subject"),
        STATEMENT.replace("{", '{"more":1,'),
      ].map((payload): [string, unknown] => ["builder", { kind: "statement", payload }]),
      ...["00".repeat(31), "AA".repeat(32), undefined].map((sha256): [string, unknown] => [
        "mok",
        { kind: "module", sha256 },
      ]),
      ["other", { kind: "module", sha256: "00".repeat(32) }],
    ];
    for (const [key, request] of wrong)
      await expect(
        signer.sign(key, request as SigningRequest),
        JSON.stringify(request),
      ).rejects.toMatchObject({ code: "SIGNING_REFUSED" });

    await expect(signer.sign("head", REQUESTS.head.request)).resolves.toHaveProperty("length");
    await expect(signer.sign("builder", REQUESTS.builder.request)).resolves.toHaveProperty("length");
  });

  test("answers many that ask at once, each its own", async () => {
    await using signer = await openSigner([module]);
    const digests = Array.from({ length: 20 }, (_, index) => index.toString(16).padStart(64, "0"));

    const signatures = await Promise.all(
      digests.map((sha256) => signer.sign("mok", { kind: "module", sha256 })),
    );

    const key = signer.keys.get("mok")?.key;
    const { publicDecrypt } = await import("node:crypto");
    const seen = signatures.map((one) =>
      publicDecrypt({ key: key as NonNullable<typeof key> }, one)
        .toString("hex")
        .slice(-64),
    );
    expect(seen).toEqual(digests);
  });
});

describe("the process of a key", () => {
  const script = fileURLToPath(new URL("../../test/support/key-farm.ts", import.meta.url));
  let farm: ReturnType<typeof spawn>;
  let logs = "";
  let signers: number[] = [];

  beforeAll(async () => {
    farm = spawn(process.execPath, [script, JSON.stringify([head, module])]);
    farm.stderr?.on("data", (text) => (logs += String(text)));
    await new Promise<void>((resolve, reject) => {
      farm.stdout?.on("data", (text) => (String(text).includes("signed") ? resolve() : undefined));
      farm.on("exit", () => reject(new Error(logs)));
    });
    signers = descendants(farm.pid ?? 0).filter((pid) => commandOf(pid)[0] === process.execPath);
  });
  afterAll(() => {
    farm.stdin?.end();
  });

  test("is one for each key, with nothing of the farm's environment, no dumps and no network", () => {
    expect(signers).toHaveLength(2);
    for (const pid of signers) {
      expect(readFileSync(`/proc/${pid}/environ`, "utf8")).toBe("");
      expect(readFileSync(`/proc/${pid}/limits`, "utf8")).toMatch(/^Max core file size +0 +0 /m);
      const links = readFileSync(`/proc/${pid}/net/dev`, "utf8").trim().split("\n").slice(2);
      expect(links.map((line) => line.trim().split(":")[0])).toEqual(["lo"]);
      expect(commandOf(pid)).toContain("--permission");
      expect(commandOf(pid).join(" ")).not.toMatch(/--allow-(fs-write|child-process|worker|addons|wasi)/);
      expect(commandOf(pid).join(" ")).not.toContain(PASSWORD);
      expect(readdirSync(`/proc/${pid}/root`).sort()).not.toContain("proc");
    }
  });

  test("alone has the key and its password: they are not in the farm's memory, arguments or logs", () => {
    const needles = [head, module].flatMap(({ place: one }) => secretsOf((one as { path: string }).path));
    needles.push(Buffer.from(PASSWORD));
    const farmPid = farm.pid ?? 0;
    const others = descendants(farmPid).filter((pid) => !signers.includes(pid));

    // The search finds what is there.
    expect(signers.some((pid) => memoryHolds(pid, needles))).toBe(true);
    for (const pid of [farmPid, ...others])
      expect(memoryHolds(pid, needles), commandOf(pid).join(" ")).toBe(false);
    for (const file of ["environ", "cmdline"])
      for (const pid of [farmPid, ...others])
        expect(needles.some((needle) => readFileSync(`/proc/${pid}/${file}`).includes(needle))).toBe(false);
    expect(logs).toBe("");
  });

  test("ends with the farm, however that ends", async () => {
    farm.kill("SIGKILL");
    const deadline = performance.now() + 20_000;
    while (signers.some(isRunning) && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20));

    expect(signers.filter(isRunning)).toEqual([]);
  });
});

/** The private numbers of a key, as bytes and as they stand in the file. */
function secretsOf(path: string): Buffer[] {
  const pem = readFileSync(path, "utf8");
  const { d = "", p } = createPrivateKey({ key: pem, passphrase: PASSWORD }).export({ format: "jwk" });
  const text = pem.split("\n")[2] ?? "";
  // OpenSSL keeps numbers as little-endian words.
  const numbers = [d, p].flatMap((one) => (one === undefined ? [] : [Buffer.from(one, "base64url")]));
  return [...numbers, ...numbers.map((one) => Buffer.from(one).reverse()), Buffer.from(text)].map((one) =>
    one.subarray(0, 32),
  );
}

/** Looks through all memory of a process that is its own: what is only mapped from files is as it is on disk. */
function memoryHolds(pid: number, needles: readonly Buffer[]): boolean {
  const maps = readFileSync(`/proc/${pid}/maps`, "latin1").split("\n");
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const piece = Buffer.alloc(16 * 1024 * 1024);
  try {
    for (const line of maps) {
      const [, start = "", end = ""] = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line) ?? [];
      if (start === "" || /\[v/.test(line)) continue;
      const [from, to] = [Number.parseInt(start, 16), Number.parseInt(end, 16)];
      for (let at = from; at < to; at += piece.length - 64) {
        const wanted = Math.min(piece.length, to - at);
        const count = readOrNothing(memory, piece, wanted, at);
        if (needles.some((needle) => piece.subarray(0, count).includes(needle))) return true;
      }
    }
    return false;
  } finally {
    closeSync(memory);
  }
}

function readOrNothing(memory: number, piece: Buffer, length: number, position: number): number {
  try {
    return readSync(memory, piece, 0, length, position);
  } catch {
    return 0; // Not backed by anything.
  }
}

function descendants(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .split(" ")
    .filter(Boolean)
    .map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function commandOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
}

function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

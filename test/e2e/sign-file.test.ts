/** Signatures beside modules, against the kernel's own sign-file, OpenSSL and modinfo. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { readSigner } from "../../src/check/signature.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import { createKey, type MadeKey } from "../../src/signing/create.ts";
import { openSigner } from "../../src/signing/open.ts";
import { moduleCertificate, sidecarOf } from "../../src/signing/sidecar.ts";
import { cli } from "../support/e2e-farm.ts";
import { hostPackages } from "../support/host-packages.ts";
import { sharedDirectory } from "../support/temporary.ts";

const SIGN_FILE = join(hostPackages("linux-kbuild-6.1"), "usr/lib/linux-kbuild-6.1/scripts/sign-file");
const place = sharedDirectory();
const at = (name: string) => join(place, name);
const run = (argv: readonly string[]) => cli(argv, { cwd: place });
const FIXTURE = join(import.meta.dirname, "../fixtures/modules/crc7.ko");

describe.each([
  ["rsa", "deterministic, so the same bytes"],
  ["p256", "accepted by it"],
] as const)("a signature by a key of the kind %s is, by the kernel's sign-file, %s", (kind, _) => {
  let made: MadeKey;
  let sidecar: Buffer;
  const name = `${kind}.ko`;
  beforeAll(async () => {
    made = await createKey({ name: kind, kind, directory: at("keys"), hasCertificate: true });
    // As nodes insert it before it is signed.
    await writeFile(at(name), splitSignature(await readFile(FIXTURE), FIXTURE).content);
    const certificate = moduleCertificate(readSigner(await readFile(made.certificate ?? ""), kind), kind);
    await using signer = await openSigner([
      { name: kind, role: "module", place: { kind: "file", path: made.file }, password: { kind: "asked" } },
    ]);
    const sha256 = createHash("sha256")
      .update(await readFile(at(name)))
      .digest("hex");
    sidecar = sidecarOf(certificate, await signer.sign(kind, { kind: "module", sha256 }));
    await writeFile(at(`${name}.p7s`), sidecar);
  });

  test("as it signs itself", async () => {
    execFileSync(SIGN_FILE, ["sha256", made.file, made.certificate ?? "", at(name), at(`${name}.theirs`)]);
    const ours = Buffer.concat([await readFile(at(name)), sidecar]);
    const theirs = await readFile(at(`${name}.theirs`));

    if (kind === "rsa") expect(ours.equals(theirs)).toBe(true);
    // Of ECDSA only the signature itself differs, and its length with it.
    else expect(Math.abs(ours.length - theirs.length)).toBeLessThanOrEqual(4);
  });

  test("as it appends what somebody else signed", async () => {
    const cms = sidecar.subarray(0, sidecar.length - 40);
    await writeFile(at(`${name}.cms`), cms);
    const signed = at(`${name}.appended`);
    execFileSync(SIGN_FILE, ["-s", at(`${name}.cms`), "sha256", made.certificate ?? "", at(name), signed]);

    expect(await readFile(signed)).toEqual(Buffer.concat([await readFile(at(name)), sidecar]));
  });

  test("good to OpenSSL, and named by modinfo", async () => {
    await writeFile(at(`${name}.cms`), sidecar.subarray(0, sidecar.length - 40));
    execFileSync("openssl", [
      "x509",
      "-inform",
      "DER",
      "-in",
      made.certificate ?? "",
      "-out",
      at(`${kind}.crt`),
    ]);
    execFileSync(
      "openssl",
      [
        ...["cms", "-verify", "-binary", "-inform", "DER", "-in", at(`${name}.cms`), "-content", at(name)],
        ...["-certfile", at(`${kind}.crt`), "-nointern", "-noverify", "-out", "/dev/null"],
      ],
      { stdio: "pipe" },
    );
    const signed = at(`signed-${name}`);
    await writeFile(signed, Buffer.concat([await readFile(at(name)), sidecar]));

    expect(execFileSync("modinfo", ["-F", "signer", signed]).toString()).toBe(`${kind}\n`);
  });

  test("attached and detached by `kmodfarm modules`", async () => {
    const signed = at(`attached-${name}`);
    const whole = Buffer.concat([await readFile(at(name)), sidecar]);

    expect(await run(["modules", "attach", at(name), at(`${name}.p7s`), "--to", signed])).toMatchObject({
      exitCode: 0,
    });
    expect(await readFile(signed)).toEqual(whole);
    expect(await run(["modules", "attach", signed, at(`${name}.p7s`), "--to", at("twice")])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("is signed already"),
    });
    expect(await run(["modules", "attach", at(name), at(name), "--to", at("none")])).toMatchObject({
      exitCode: 1,
    });
    expect(await run(["modules", "attach", at(name), at(`${name}.cms`), "--to", at("bare")])).toMatchObject({
      exitCode: 0,
    });
    expect(await readFile(at("bare"))).toEqual(whole);

    expect(await run(["modules", "detach", signed, "--to", at("apart")])).toMatchObject({ exitCode: 0 });
    expect(await readFile(at(`apart/attached-${name}`))).toEqual(await readFile(at(name)));
    expect(await readFile(at(`apart/attached-${name}.p7s`))).toEqual(sidecar);
    expect(await run(["modules", "detach", at(name), "--to", at("apart")])).toMatchObject({ exitCode: 1 });
  });
});

import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { readCertificates } from "./policy-file.ts";

async function certificates() {
  const directory = await temporaryDirectory();
  for (const name of ["one", "two"]) {
    const out = ["-keyout", `${name}.key`, "-out", `${name}.pem`];
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    execFileSync("openssl", ["req", "-x509", "-nodes", ...key, "-subj", `/CN=${name}`, ...out], {
      cwd: directory,
      stdio: "pipe",
    });
  }
  return directory;
}

test("all certificates of a file count", async () => {
  const directory = await certificates();
  const files = ["two.pem", "one.pem"].map((name) => readFile(join(directory, name)));
  await writeFile(join(directory, "both.pem"), Buffer.concat(await Promise.all(files)));

  const found = await readCertificates(join(directory, "both.pem"));

  expect(found.map(({ certificate }) => certificate.subject)).toEqual(["CN=two", "CN=one"]);
});

test("a key is told from a certificate, and a file that is not there from either", async () => {
  const directory = await certificates();
  const told = (name: string) => readCertificates(join(directory, name)).catch(({ message }) => message);

  expect(await told("one.key")).toMatch(/one\.key is a private key, not a certificate$/);
  expect(await told("none.pem")).toMatch(/none\.pem cannot be read \(ENOENT\)$/);
});

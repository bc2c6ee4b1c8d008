/** deploy/arc on a real API server: it takes every manifest of a kind that it knows, and refuses a misspelt one. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { sharedDirectory, temporaryDirectory } from "./support/temporary.ts";

const CHECKOUT = join(import.meta.dirname, "..");
const ARC = join(CHECKOUT, "deploy", "arc");
const FIXTURES = join(import.meta.dirname, "fixtures", "arc");
/** What is built stays for the next time. */
const PLACE = join(CHECKOUT, ".kmodfarm", "kubernetes");
const UP = join(CHECKOUT, "scripts", "kubernetes-up.sh");

const kubectl = (...argv: string[]) =>
  spawnSync(join(PLACE, "bin", "kubectl"), ["--kubeconfig", join(PLACE, "kubeconfig"), ...argv], {
    encoding: "utf8",
  });
/** Nothing is written: the server answers as if it were. */
const dryRun = (file: string) => kubectl("create", "--dry-run=server", "--validate=true", "-f", file);

const isForServer = (text: string) => !/^kind: (?:NodePool|EC2NodeClass)$/m.test(text);
const FILES = globSync("**/*.yaml", { cwd: ARC })
  .filter((file) => !/values-|cluster-autoscaler|karpenter/.test(file))
  .toSorted();

/** `make test-kubernetes` installs what builds it. */
const CAN_BE_BUILT =
  existsSync("/usr/lib/go-1.19/bin/go") || existsSync(join(PLACE, "bin", "kube-apiserver"));

describe.skipIf(!CAN_BE_BUILT)("an API server (`make test-kubernetes` installs what it needs)", () => {
  const place = sharedDirectory();
  beforeAll(async () => {
    execFileSync(UP, [PLACE, "up"], { stdio: ["ignore", "inherit", "inherit"] });
    for (const name of globSync("*.yaml.gz", { cwd: FIXTURES })) {
      const file = join(place, name.replace(/\.gz$/, ""));
      const text = gunzipSync(readFileSync(join(FIXTURES, name))).toString("utf8");
      // Kubernetes 1.20 takes a default that is an empty string for null; nothing here rests on one.
      await writeFile(file, text.replaceAll(/^ *default: ""\n/gm, ""));
      const { status, stderr } = kubectl("create", "-f", file);
      if (status !== 0) throw new Error(stderr);
    }
    // A dry run makes no namespace, and what is in one needs it.
    for (const file of FILES.filter((name) => name.startsWith("namespace"))) {
      const { status, stderr } = kubectl("create", "-f", join(ARC, file));
      if (status !== 0) throw new Error(stderr);
      const made = kubectl("get", "networkpolicies", "--all-namespaces", "--output", "name");
      expect(made.stdout).toContain("networkpolicy");
      kubectl("delete", "networkpolicies,serviceaccounts", "--all", "--all-namespaces");
    }
  });
  afterAll(() => void execFileSync(UP, [PLACE, "down"]));

  test("there is something to try", () => {
    expect(FILES).toEqual(expect.arrayContaining(["namespace-x86_64.yaml", "runner-deployment/x86_64.yaml"]));
  });

  test.each(FILES)("%s is what the server would create", async (file) => {
    const text = readFileSync(join(ARC, file), "utf8");
    expect(isForServer(text)).toBe(true);
    // The namespaces themselves are there already.
    const documents = parseAllDocuments(text).filter((document) => document.toJS()?.kind !== "Namespace");
    const rest = join(await temporaryDirectory(), "rest.yaml");
    await writeFile(rest, documents.map(String).join("---\n"));

    const { status, stdout, stderr } = dryRun(rest);

    expect(status, stderr).toBe(0);
    expect(stdout.match(/ created \(server dry run\)/g)).toHaveLength(documents.length);
  });

  test("the server refuses a field of another type, so that its word counts", async () => {
    const file = join(await temporaryDirectory(), "wrong.yaml");
    const text = readFileSync(join(ARC, "runner-deployment/x86_64.yaml"), "utf8");
    const wrong = text.replace(/^( *)minReplicas: .*$/m, "$1minReplicas: many");
    expect(wrong).not.toBe(text);
    await writeFile(file, wrong);

    const { status, stderr } = dryRun(file);

    expect(status).not.toBe(0);
    expect(stderr).toMatch(/minReplicas/);
  });
});

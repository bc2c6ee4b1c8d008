/** Drivers from real servers of git: over ssh by an agent or a deploy key, over http by a password, with submodules. */
import { spawnSync } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { gitOrigin } from "../../src/builder/origins/git.ts";
import type { GitPlace, OriginContext } from "../../src/builder/origins/origin.ts";
import { originContext } from "../contracts/origin.ts";
import { makeRepository, makeSshKey, startAgent, startGitHttp, startSshd } from "../support/git-servers.ts";
import { gitIn } from "../support/git-trees.ts";

const git = gitOrigin(64 * 1024 ** 2);
const KBUILD = "obj-m := doorbell.o\n";

async function fetched(place: GitPlace, context: OriginContext, path = "Kbuild"): Promise<string> {
  const { directory } = await git.fetch(place, "1.0.0", context);
  return readFile(join(directory, path), "utf8");
}

async function sshd() {
  const context = await originContext();
  const { base } = context;
  const key = makeSshKey(join(base, "key"));
  const commit = makeRepository(join(base, "srv/driver.git"), { Kbuild: KBUILD });
  const { url, known } = await startSshd(base, key);
  const place = { git: `${url}${base}/srv/driver.git`, revision: "v1" };
  return { context, base, key, commit, url, known, place };
}

describe("git over ssh", () => {
  test("takes a deploy key, and host keys from a file", async () => {
    const { context, place } = await sshd();

    expect(await fetched({ ...place, key: "key", knownHosts: "known_hosts" }, context)).toBe(KBUILD);
  });

  test("takes the agent and the known hosts of whoever runs the farm", async () => {
    const { context, base, key, known, place, commit } = await sshd();
    const agent = await startAgent(base, key);

    const { origin } = await git.fetch(place, "1.0.0", { ...context, ssh: { agent, knownHosts: [known] } });

    expect(origin).toEqual({ kind: "git", place: place.git, commit });
  });

  test("says what to do about an unknown server, a key that it refuses, and one that others can read", async () => {
    const { context, base, place, known } = await sshd();
    makeSshKey(join(base, "other"));
    const ssh = { knownHosts: [known] };
    const error = (more: Partial<GitPlace>, user = ssh as OriginContext["ssh"]) =>
      fetched({ ...place, ...more }, { ...context, ssh: user }).then(
        () => "",
        (thrown) => `${thrown.code}: ${thrown.message} ${thrown.hint}`,
      );

    expect(await error({ key: "key" }, { knownHosts: [] })).toMatch(
      /^CONFIG_INVALID.*host's key is not known.*knownHosts/s,
    );
    expect(await error({ key: "other" })).toMatch(/^CONFIG_INVALID.*accepts no key.*deploy key/s);
    expect(await error({ key: "none" })).toMatch(/^FILE_UNREADABLE.*none/s);
    expect(await error({})).toMatch(/^CONFIG_INVALID.*neither an agent.*nor a `key`/s);
    await chmod(join(base, "key"), 0o644);
    expect(await error({ key: "key" })).toMatch(/^CONFIG_INVALID.*others can read.*chmod 600/s);
  });

  test("has submodules of the same server, and theirs, in one tree", async () => {
    const { context, base, url } = await sshd();
    const inner = makeRepository(join(base, "srv/inner.git"), { "inner.h": "int inner;\n" });
    const lib = makeRepository(
      join(base, "srv/lib.git"),
      { "lib.h": "int lib;\n" },
      { inner: { url: "../inner.git", commit: inner } },
    );
    makeRepository(
      join(base, "srv/whole.git"),
      { Kbuild: KBUILD },
      { lib: { url: `${url}${base}/srv/lib.git`, commit: lib } },
    );
    const place = {
      git: `${url}${base}/srv/whole.git`,
      revision: "v1",
      key: "key",
      knownHosts: "known_hosts",
    };
    const said: string[] = [];

    expect(await fetched({ ...place, submodules: true }, context, "lib/inner/inner.h")).toBe("int inner;\n");
    expect(await fetched({ ...place, submodules: true }, context, "lib/lib.h")).toBe("int lib;\n");
    await expect(
      fetched(place, { ...context, say: (text) => void said.push(text) }, "lib/lib.h"),
    ).rejects.toThrow("ENOENT");
    expect(said.join("\n")).toContain("submodules are left out (lib)");
  });

  test("does not write through a link where a submodule says it is", async () => {
    const { context, base, url } = await sshd();
    const lib = makeRepository(join(base, "srv/lib.git"), { "lib.h": "int lib;\n" });
    const victim = join(base, "victim");
    await mkdir(victim);
    const evil = join(base, "srv/evil.git");
    makeRepository(evil, { Kbuild: KBUILD }, { "out/lib": { url: "../lib.git", commit: lib } });
    const blob = gitIn(evil, victim, "hash-object", "-w", "--stdin");
    const tree = gitIn(evil, "", "ls-tree", "HEAD")
      .split("\n")
      .filter((line) => !line.endsWith("\tout"));
    const out = gitIn(evil, "", "rev-parse", "HEAD:out");
    const both = [...tree, `040000 tree ${out}\tout`, `120000 blob ${blob}\tout`].join("\n");
    const made = gitIn(evil, `${both}\n`, "mktree");
    gitIn(evil, "", "tag", "evil", gitIn(evil, "", "commit-tree", made, "-m", "evil"));
    const place = {
      git: `${url}${evil}`,
      revision: "evil",
      key: "key",
      knownHosts: "known_hosts",
      submodules: true,
    };

    await git.fetch(place, "1.0.0", context).catch(() => {}); // Refused or not: nothing is written there.

    await expect(readFile(join(victim, "lib/lib.h"))).rejects.toThrow("ENOENT");
  });
});

describe("git over http", () => {
  test("asks with the password of its file, its submodules too, and it is seen nowhere", async () => {
    const context = await originContext();
    const { base, cache } = context;
    const lib = makeRepository(join(base, "srv/lib.git"), { "lib.h": "int lib;\n" });
    makeRepository(
      join(base, "srv/driver.git"),
      { Kbuild: KBUILD },
      { lib: { url: "../lib.git", commit: lib } },
    );
    const { url, seen } = await startGitHttp(join(base, "srv"));
    await writeFile(join(base, "password"), "hunter2\n");
    const place = { git: `${url}/driver.git`, revision: "v1", submodules: true };
    const credentials = { user: "me", passwordFile: "password" };

    expect(await fetched({ ...place, credentials }, context, "lib/lib.h")).toBe("int lib;\n");
    expect(seen).toContain("me:hunter2");
    expect(spawnSync("grep", ["--recursive", "--files-with-matches", "hunter2", cache]).status).toBe(1);
  });

  test("says that a private repository wants credentials, or others", async () => {
    const context = await originContext();
    const { base } = context;
    makeRepository(join(base, "srv/driver.git"), { Kbuild: KBUILD });
    const { url } = await startGitHttp(join(base, "srv"));
    await writeFile(join(base, "password"), "wrong\n");
    const place = { git: `${url}/driver.git`, revision: "v1" };

    for (const more of [{}, { credentials: { user: "me", passwordFile: "password" } }])
      await expect(fetched({ ...place, ...more }, context)).rejects.toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID", hint: expect.stringContaining("passwordFile") }),
      );
  });
});

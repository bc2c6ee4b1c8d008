import { describe, expect, test } from "vitest";
import { linksIn, placeOfSubmodule, urlsIn } from "./git-submodules.ts";

const COMMIT = "0123456789012345678901234567890123456789";
const link = { path: "lib", commit: COMMIT };

test("the links of a tree are its entries that are commits", () => {
  const listed = [
    `100644 blob ${COMMIT}      12\tKbuild`,
    `160000 commit ${COMMIT}       -\tdeps/a b`,
    `120000 blob ${COMMIT}       3\t160000`,
  ].join("\0");

  expect(linksIn(listed)).toEqual([{ commit: COMMIT, path: "deps/a b" }]);
});

test("the URLs of .gitmodules are those of their paths, whatever the sections are called", () => {
  const listed = [
    "submodule.a.path\ndeps/a",
    "submodule.a.url\nhttps://h.example/a",
    "submodule.x.y.url\n../b.git",
    "submodule.x.y.path\nb",
    "submodule.z.path\nz",
    "core.url\nno",
  ];

  expect([...urlsIn(listed.join("\0"))]).toEqual([
    ["deps/a", "https://h.example/a"],
    ["b", "../b.git"],
    ["z", ""],
  ]);
});

describe("a submodule is fetched", () => {
  const credentials = { user: "me", passwordFile: "pw" };

  test.each([
    ["https://h.example/team/driver.git", "../lib.git", "https://h.example/team/lib.git"],
    ["https://h.example/team/driver.git/", "./lib", "https://h.example/team/driver.git/lib"],
    ["https://h.example/team/driver.git", "https://h.example/other", "https://h.example/other"],
  ])("from its own server with the same credentials: %s, %s", async (git, url, expected) => {
    const place = { git, revision: "v1", credentials, submodules: true };

    expect(await placeOfSubmodule(place, link, url)).toEqual({ ...place, git: expected, revision: COMMIT });
  });

  test.each([
    ["git@h.example:team/driver.git", "../lib.git", "git@h.example:team/lib.git"],
    ["git@h.example:/srv/driver.git", "../lib.git", "git@h.example:/srv/lib.git"],
    ["ssh://git@h.example:22022/driver.git", "../lib.git", "ssh://git@h.example:22022/lib.git"],
    ["git@h.example:driver.git", "ssh://git@h.example/lib.git", "ssh://git@h.example/lib.git"],
  ])("from its own server by ssh with the same key: %s, %s", async (git, url, expected) => {
    const place = { git, revision: "v1", key: "deploy" };

    expect(await placeOfSubmodule(place, link, url)).toEqual({ ...place, git: expected, revision: COMMIT });
  });

  test("from another server by https, which hears of no key and no password", async () => {
    for (const place of [
      { git: "https://h.example/driver.git", revision: "v1", credentials },
      { git: "git@h.example:driver.git", revision: "v1", key: "deploy", knownHosts: "known" },
    ])
      expect(await placeOfSubmodule(place, link, "https://other.invalid/lib")).toEqual({
        git: "https://other.invalid/lib",
        revision: COMMIT,
      });
  });

  test.each([
    ["https://h.example/driver.git", "/root/secret"],
    ["/home/me/driver", "../secret"],
    ["https://h.example/driver.git", "file:///root/secret"],
    ["https://h.example/driver.git", "ext::sh -c id"],
    ["https://h.example/driver.git", "git@h.example:secret.git"],
    ["git@h.example:driver.git", "git@other.example:secret.git"],
    ["git@h.example:driver.git", "somebody@h.example:secret.git"],
    ["https://h.example/driver.git", "http://other.example/lib"],
    ["https://h.example/driver.git", "http://h.example/lib"],
    ["https://h.example/driver.git", "https://other.invalid:8443/lib", true],
    ["https://h.example/driver.git", "https://127.0.0.1/lib"],
    ["https://h.example/driver.git", "https://[::1]/lib"],
    ["https://h.example/driver.git", "https://169.254.169.254/latest"],
    ["https://h.example/driver.git", "https://localhost/lib"],
    ["https://h.example/driver.git", "https://me:pw@other.example/lib"],
    ["https://h.example/driver.git", "../../../lib"],
    ["https://h.example/driver.git", ""],
    ["https://h.example/driver.git", undefined],
    ["https://h.example/driver.git", "https://["],
    ["https://h.example/driver.git", "https://h.example\\@other.example/lib"],
    ["https://h.example/driver.git", "../\\@other.example/lib"],
    ["https://h.example/driver.git", "https://h.example\t@other.example/lib"],
    ["https://h.example/driver.git", "https://h.example\u3002/lib"],
    ["ssh://git@h.example/driver.git", "ssh://git@h.example\\@other.example/lib"],
  ])("from nowhere else: %s, %s", async (git, url, isOther = false) => {
    const place = { git, revision: "v1", credentials, key: "deploy" };
    const found = placeOfSubmodule(place, link, url);

    // Another port is another server, and gets nothing of ours.
    if (isOther) expect(await found).toEqual({ git: url, revision: COMMIT });
    else
      await expect(found).rejects.toThrow(
        expect.objectContaining({
          code: "DRIVER_INVALID",
          message: expect.stringContaining("submodule lib"),
        }),
      );
  });
});

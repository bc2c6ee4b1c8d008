import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type KnownKernel, type Node, parseOsRelease, resolveNode } from "./node.ts";

const DEBIAN: Node = {
  release: "6.12.107-1-amd64",
  version: "#1 SMP PREEMPT_DYNAMIC Debian 6.12.107-1~deb12u1 (2026-08-01)",
  machine: "x86_64",
  osId: "debian",
  osVersion: "12",
};

function kernel(
  distribution: string,
  kversion: string,
  packageVersion: string,
  content = packageVersion,
): KnownKernel {
  return {
    distribution,
    architecture: "x86_64",
    kversion,
    packageVersion,
    packages: { headers: [{ sha256: content }] },
  };
}

describe("resolveNode", () => {
  test("takes the build that Debian's uname -v names, not another release's of the same upstream version", () => {
    const right = kernel("debian12", "6.12.107-1-amd64", "6.12.107-1~deb12u1");
    const other = kernel("debian13", "6.12.107-1-amd64", "6.12.107-1");

    const answer = resolveNode([other, right], DEBIAN);

    expect(answer).toEqual({ kind: "found", kernel: right, same: [] });
  });

  test("refuses a near miss and names it", () => {
    const other = kernel("debian13", "6.12.107-1-amd64", "6.12.107-1");

    const answer = resolveNode([other], DEBIAN);

    expect(answer).toMatchObject({ kind: "unknown", near: [other] });
    expect(answer).toHaveProperty("reason", expect.stringContaining("6.12.107-1~deb12u1"));
  });

  test("refuses a kernel of the same release that Debian did not build", () => {
    const known = kernel("debian12", "6.1.0-1-amd64", "6.1.1-1");

    const answer = resolveNode([known], { ...DEBIAN, release: "6.1.0-1-amd64", version: "#1 SMP by hand" });

    expect(answer.kind).toBe("unknown");
  });

  test("reads Ubuntu's build number with its suffix", () => {
    const focal = kernel("ubuntu20.04", "5.15.0-26-generic", "5.15.0-26.26~20.04.1");
    const jammy = kernel("ubuntu22.04", "5.15.0-26-generic", "5.15.0-26.26");
    const node = { release: "5.15.0-26-generic", machine: "x86_64", osId: "ubuntu", osVersion: "22.04" };

    const onFocal = resolveNode([jammy, focal], { ...node, version: "#26~20.04.1-Ubuntu SMP Tue Apr 12" });
    const onJammy = resolveNode([jammy, focal], { ...node, version: "#26-Ubuntu SMP Tue Apr 12" });

    expect(onFocal).toMatchObject({ kernel: focal });
    expect(onJammy).toMatchObject({ kernel: jammy });
  });

  test("lets uname decide when os-release tells of another system", () => {
    const right = kernel("debian12", "6.1.0-56-amd64", "6.1.170-3");

    const answer = resolveNode([right], {
      ...DEBIAN,
      release: "6.1.0-56-amd64",
      version: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)",
      osId: "ubuntu",
      osVersion: "24.04",
    });

    expect(answer).toMatchObject({ kind: "found", kernel: right });
  });

  test("breaks the tie of rebuilt distributions by os-release, and says so when it cannot", () => {
    const release = "5.14.0-427.13.1.el9_4.x86_64";
    const alma = kernel("almalinux9.4", release, "5.14.0-427.13.1.el9_4", "a");
    const rocky = kernel("rocky9.4", release, "5.14.0-427.13.1.el9_4", "b");
    const node = { release, version: "#1 SMP PREEMPT_DYNAMIC Wed May 1", machine: "x86_64" };

    const upgraded = resolveNode([alma, rocky], { ...node, osId: "rocky", osVersion: "9.5" });
    const unsaid = resolveNode([alma, rocky], node);

    expect(upgraded).toMatchObject({ kind: "found", kernel: rocky });
    expect(unsaid).toMatchObject({ kind: "ambiguous", kernels: [alma, rocky] });
  });

  test("is content with either of two releases that carry the very same packages", () => {
    const testing = kernel("debian14", "7.2.13-amd64", "7.2.13-1");
    const unstable = kernel("debiansid", "7.2.13-amd64", "7.2.13-1");
    const node = {
      release: "7.2.13-amd64",
      version: "#1 SMP Debian 7.2.13-1 (2026-10-28)",
      machine: "x86_64",
      osId: "debian",
    };

    const answer = resolveNode([testing, unstable], node);

    expect(answer).toEqual({ kind: "found", kernel: testing, same: [unstable] });
  });

  test.each([
    ["a machine nobody builds for", { machine: "riscv64" }],
    ["a release never seen", { release: "6.12.108-1-amd64" }],
    ["another architecture", { machine: "aarch64" }],
  ])("finds nothing for %s", (_, change) => {
    const known = kernel("debian12", "6.12.107-1-amd64", "6.12.107-1~deb12u1");

    expect(resolveNode([known], { ...DEBIAN, ...change }).kind).toBe("unknown");
  });

  test("answers any words with one of its three answers", () => {
    const known = [
      kernel("debian12", "a", "1"),
      kernel("ubuntu22.04", "a", "1.1"),
      kernel("fedora40", "a", "1"),
    ];

    fc.assert(
      fc.property(
        fc.constantFrom("a", "b"),
        fc.string(),
        fc.string(),
        fc.string(),
        (release, version, osId, osVersion) => {
          const answer = resolveNode(known, { release, version, machine: "x86_64", osId, osVersion });
          expect(["found", "unknown", "ambiguous"]).toContain(answer.kind);
        },
      ),
    );
  });
});

describe("parseOsRelease", () => {
  test("reads quoted and plain fields, and knows when there are none", () => {
    expect(parseOsRelease('NAME="Debian"\nVERSION_ID="12"\nID=debian\n')).toEqual({
      osId: "debian",
      osVersion: "12",
    });
    expect(parseOsRelease("")).toEqual({ osId: undefined, osVersion: undefined });
  });
});

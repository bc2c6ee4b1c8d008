import { access } from "node:fs/promises";
import { dirname } from "node:path";
import { describe, expect, test } from "vitest";
import { groupPlaces, hierarchiesOf, makeGroup } from "./cgroup.ts";

describe("the hierarchies of control groups", () => {
  test("are found where systemd mounts version 2, with the group that we are in", () => {
    const mountinfo =
      "25 1 0:22 / /sys rw,nosuid - sysfs sysfs rw\n30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    expect(hierarchiesOf(mountinfo, "0::/user.slice/user-0.slice/session-3.scope\n")).toEqual([
      {
        version: 2,
        mount: "/sys/fs/cgroup",
        own: "/sys/fs/cgroup/user.slice/user-0.slice/session-3.scope",
        controllers: [],
      },
    ]);
  });

  test("are found by controller in version 1, beside a version 2 that has none", () => {
    const mountinfo = `
31 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`;
    const membership = "4:memory:/a/b\n2:cpu,cpuacct:/c\n1:name=systemd:/d\n0::/e\n";

    const found = hierarchiesOf(mountinfo, membership).map(({ version, own }) => [version, own]);

    expect(found).toEqual([
      [1, "/sys/fs/cgroup/memory/a/b"],
      [1, "/sys/fs/cgroup/cpu,cpuacct/c"],
      [1, "/sys/fs/cgroup/systemd/d"],
      [2, "/sys/fs/cgroup/unified/e"],
    ]);
  });

  test("show a container's own group as the top, and nothing outside of what is mounted", () => {
    const mountinfo = "31 30 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";

    expect(hierarchiesOf(mountinfo, "4:memory:/docker/abc\n")[0]?.own).toBe("/sys/fs/cgroup/memory");
    expect(hierarchiesOf(mountinfo, "4:memory:/docker/abc/x\n")[0]?.own).toBe("/sys/fs/cgroup/memory/x");
    expect(hierarchiesOf(mountinfo, "4:memory:/docker/abcd\n")).toEqual([]);
    expect(hierarchiesOf(mountinfo, "4:memory:/../other\n")).toEqual([]);
  });

  test("may be none, or unreadable", () => {
    expect(hierarchiesOf("", "")).toEqual([]);
    expect(hierarchiesOf("garbage\n - cgroup", "::\nx")).toEqual([]);
  });
});

describe("a control group", () => {
  test("is made where this machine lets us, and is gone afterwards", async ({ skip }) => {
    const places = await groupPlaces();
    if (places.length === 0) skip("no control group can be made on this machine");

    const group = await makeGroup({ memoryBytes: 1 << 26, processLimit: 10 });

    expect(group?.entrances).toHaveLength(places.length);
    for (const file of group?.entrances ?? []) await access(file);
    expect(await group?.exceeded()).toBeUndefined();
    expect(await group?.processes()).toEqual([]);
    await group?.remove();
    for (const file of group?.entrances ?? []) await expect(access(dirname(file))).rejects.toThrow("ENOENT");
  });
});

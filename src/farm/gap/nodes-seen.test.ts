import { expect, test } from "vitest";
import { makeKernel } from "../../../test/support/kernels.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { withHappened } from "../../registry/history.ts";
import { happenedOnNodes } from "./nodes-seen.ts";

const KERNEL = makeKernel();
const OTHER = makeKernel({ kversion: "6.1.0-99-amd64" });
const entryOf = (kernel: typeof KERNEL) => ({ driver: "d", series: "1.0.0", kernel: kernelName(kernel) });
const seen = (
  release: string,
  at: string,
  version = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)",
) => ({ type: "node", node: "n", release, version, machine: "x86_64", at }) as const;

test("history has when the first node ran a kernel that there are modules for, in UTC", () => {
  const history = [entryOf(KERNEL), entryOf(OTHER)];
  const nodes = [
    seen(KERNEL.kversion, "2026-11-20T12:00:00+02:00"),
    seen(KERNEL.kversion, "2026-11-19T12:00:00+02:00"),
    seen("6.1.0-1-amd64", "2026-11-01T00:00:00Z"),
    seen(OTHER.kversion, "2026-11-01T00:00:00Z", "#1 SMP Debian 6.1.999-1 (2026-05-01)"),
  ];

  const happened = happenedOnNodes(nodes, [KERNEL, OTHER], history);

  expect(withHappened(history, happened)).toEqual([
    { ...entryOf(KERNEL), node: "2026-11-19T10:00:00.000Z" },
    entryOf(OTHER),
  ]);
});

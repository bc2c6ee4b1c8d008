import { expect, test } from "vitest";
import { bubblewrap } from "../../src/builder/sandboxes/bubblewrap.ts";
import { SANDBOXES } from "../../src/builder/sandboxes/index.ts";
import { makeBusyboxRoot } from "../support/busybox-root.ts";
import { sandboxContract } from "./sandbox.ts";
import { sandboxEscapes } from "./sandbox-escapes.ts";

// The others take a second for each start: test/contracts/engines.wide.test.ts.
sandboxContract(bubblewrap, makeBusyboxRoot());
sandboxEscapes(bubblewrap, { countsMemory: true });

test("there is a sandbox, and each has a name of its own", () => {
  const names = SANDBOXES.map(({ name }) => name);

  expect(names.length).toBeGreaterThan(0);
  expect(new Set(names).size).toBe(names.length);
});

import { expect, test } from "vitest";
import { inProcess } from "../../../../test/support/in-process.ts";

test.each([[["--enrol", "mok.der"]], [["--mok"]]])("load takes %j with --secure-boot only", async (more) => {
  const { exitCode, stderr } = await inProcess(["load", "hello.ko", "--kernel", "6.1.0-57-amd64", ...more]);

  expect(exitCode).toBe(2);
  expect(stderr).toContain("--enrol and --mok need --secure-boot");
});

/** All of the contract, with the other shells of nodes, and in Node. */
import { join } from "node:path";
import { beforeAll } from "vitest";
import { bundleNodeClient } from "../../scripts/node-client.ts";
import { busyboxClient, CLIENT, SYSTEM_PATH } from "../support/node-clients.ts";
import { sharedDirectory } from "../support/temporary.ts";
import { nodeClientContract } from "./node-client.ts";

const FILE = join(sharedDirectory(), "kmodfarm-fetch.mjs");
beforeAll(() => bundleNodeClient(FILE));

nodeClientContract({ ...busyboxClient(), extent: "thorough" });
nodeClientContract({ name: "bash --posix", argv: ["bash", "--posix", CLIENT], path: SYSTEM_PATH });
nodeClientContract({
  name: "Node",
  argv: [process.execPath, FILE],
  path: SYSTEM_PATH,
  extent: "thorough",
  workMs: 700,
});

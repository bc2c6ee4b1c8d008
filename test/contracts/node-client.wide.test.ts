/** All of the contract, with the other shells of nodes. */
import { busyboxClient, CLIENT, SYSTEM_PATH } from "../support/node-clients.ts";
import { nodeClientContract } from "./node-client.ts";

nodeClientContract({ ...busyboxClient(), isThorough: true });
nodeClientContract({ name: "bash --posix", argv: ["bash", "--posix", CLIENT], path: SYSTEM_PATH });

/** Container engines as sandboxes: the contract that bubblewrap keeps. */
import { podman } from "../../src/build/sandboxes/podman.ts";
import { makeBusyboxRoot } from "../support/busybox-root.ts";
import { sandboxContract } from "./sandbox.ts";

sandboxContract(podman, makeBusyboxRoot());

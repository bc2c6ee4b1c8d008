/** The whole contract where no control group can be made. */
import { bubblewrap } from "../../src/builder/sandboxes/bubblewrap.ts";
import { makeBusyboxRoot } from "../support/busybox-root.ts";
import { ungrouped } from "../support/ungrouped.ts";
import { sandboxContract } from "./sandbox.ts";

sandboxContract(ungrouped(bubblewrap), makeBusyboxRoot(), { hasGroups: false });

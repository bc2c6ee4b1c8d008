/**
 * The thread that reads the log of a failed build.
 */
import { parentPort, workerData } from "node:worker_threads";
import { diagnose, type FailedBuild } from "./diagnose.ts";

parentPort?.postMessage(diagnose(workerData as FailedBuild));
